import Foundation
import Glibc
import NeedletailEtcd
import NeedletailTestSupport

/// Real etcd processes on free ports of loopback, one a member, ended with the object.
final class EtcdProcesses: @unchecked Sendable {  // used by one test
    struct Member {
        let name: String
        let clientPort: Int
        let peerPort: Int
        var process: Process?
    }

    private let directory = TemporaryDirectory()
    private(set) var members: [Member]

    init(members count: Int = 1) throws {
        let ports = freePorts(2 * count)
        members = (0..<count).map { Member(name: "m\($0)", clientPort: ports[2 * $0], peerPort: ports[2 * $0 + 1]) }
        for index in members.indices { try start(index) }
    }

    deinit { for index in members.indices { kill(index) } }

    var address: EtcdAddress { EtcdAddress(endpoints: members.map { ("127.0.0.1", $0.clientPort) }) }

    func start(_ index: Int) throws {
        let member = members[index]
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/etcd")
        let client = "http://127.0.0.1:\(member.clientPort)"
        let peer = "http://127.0.0.1:\(member.peerPort)"
        process.arguments = [
            "--name", member.name, "--data-dir", directory.path + "/" + member.name, "--listen-client-urls", client, "--advertise-client-urls",
            client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--logger", "zap", "--log-level", "error",
            "--heartbeat-interval", "50", "--election-timeout", "500", "--initial-cluster",
            members.map { "\($0.name)=http://127.0.0.1:\($0.peerPort)" }.joined(separator: ","),
        ]
        process.standardError = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        members[index].process = process
    }

    /// As a power cut would.
    func kill(_ index: Int) {
        guard let process = members[index].process else { return }
        Glibc.kill(process.processIdentifier, SIGKILL)
        Glibc.kill(process.processIdentifier, SIGCONT)
        process.waitUntilExit()
        members[index].process = nil
    }

    /// Alive, but silent; until `kill` or `resume`.
    func pause(_ index: Int) { if let process = members[index].process { Glibc.kill(process.processIdentifier, SIGSTOP) } }
    func resume(_ index: Int) { if let process = members[index].process { Glibc.kill(process.processIdentifier, SIGCONT) } }
}

/// Ports that nobody has at the moment; all are held at once, so that no two are the same.
private func freePorts(_ count: Int) -> [Int] {
    let sockets = (0..<count).map { _ in socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0) }
    defer { for socket in sockets { close(socket) } }
    return sockets.map { socket in
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                precondition(bind(socket, address, length) == 0, "no port is free")
                getsockname(socket, address, &length)
            }
        }
        return Int(UInt16(bigEndian: address.sin_port))
    }
}
