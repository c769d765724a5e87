/// host:port as text.
public enum Endpoint {
    /// - Parameter defaultPort: taken when the text names a host alone; nil demands a port.
    /// - Throws: `invalidArgument` when the text is not of the form host:port or [ipv6]:port.
    public static func parse(_ text: String, defaultPort: Int? = nil) throws(NeedletailError) -> (host: String, port: Int) {
        let wrong = NeedletailError(.invalidArgument, "\"\(text)\" is no address; write host:port, for example 127.0.0.1:7460")
        var host = text[...]
        var port = defaultPort
        let isBracketed = text.hasPrefix("[")
        if let colon = text.lastIndex(of: ":"), !isBracketed || text[..<colon].hasSuffix("]") {
            port = Int(text[text.index(after: colon)...])
            guard port != nil else { throw wrong }
            host = text[..<colon]
        }
        if isBracketed {
            guard host.hasSuffix("]") else { throw wrong }
            host = host.dropFirst().dropLast()
        }
        guard let port, (0...65_535).contains(port), !host.isEmpty, isBracketed || !host.contains(":") else { throw wrong }
        return (String(host), port)
    }
}

extension Endpoint {
    /// - Returns: the address without http:// or https:// and a slash at its end, and whether it says that it is encrypted; nil: it says nothing.
    public static func scheme(of text: String) -> (address: String, isEncrypted: Bool?) {
        for (scheme, isEncrypted) in [("https://", true), ("http://", false)] where text.hasPrefix(scheme) {
            let address = text.dropFirst(scheme.count)
            return (String(address.hasSuffix("/") ? address.dropLast() : address), isEncrypted)
        }
        return (text, nil)
    }

    /// Whether only this machine reaches what listens there. Names other than localhost count as what anybody may reach.
    public static func isLoopback(_ host: String) -> Bool {
        if ["localhost", "::1"].contains(host) { return true }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }

    /// - Throws: `invalidArgument` for a process that would let others read and write what nothing protects.
    public static func checkExposure(of host: String, isEncrypted: Bool, isInsecure: Bool) throws(NeedletailError) {
        guard !isEncrypted, !isInsecure, !isLoopback(host) else { return }
        throw NeedletailError(
            .invalidArgument,
            "without TLS nothing listens on \(host), which others may reach: give --tls-certificate, --tls-key and --tls-authority "
                + "(`needletail certificates` makes them); or --insecure where everybody on the network may read and write all data")
    }
}

/// The port for HTTP probes as a flag gives it.
public enum AdminPort {
    /// - Returns: nil for "off".
    /// - Throws: `invalidArgument` for anything but a port or "off".
    public static func parse(_ text: String) throws(NeedletailError) -> Int? {
        if text == "off" { return nil }
        guard let port = Int(text), (0...65_535).contains(port) else {
            throw NeedletailError(.invalidArgument, "\"\(text)\" is no port; write a number from 0 to 65535, or off")
        }
        return port
    }
}
