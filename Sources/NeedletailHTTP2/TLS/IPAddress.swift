import NIOCore

/// Whether a host is written as an address.
enum IPAddress {
    static func isOne(_ host: String) -> Bool { (try? SocketAddress(ipAddress: host, port: 0)) != nil }
}
