import NIOCore
import NIOEmbedded
import NeedletailAPI
import NeedletailCore
import NeedletailGRPC

/// A server's connection without a socket. The first byte says in how large pieces the rest arrives.
enum FrameReader {
    static func read(_ bytes: [UInt8]) {
        guard let first = bytes.first else { return }
        let channel = EmbeddedChannel()
        defer { _ = try? channel.finish(acceptAlreadyClosed: true) }
        do {
            try server(on: channel.embeddedEventLoop).accept(channel)
            try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
            var rest = bytes.dropFirst()
            let piece = first == 0 ? rest.count : Int(first)
            while !rest.isEmpty, channel.isActive {
                try channel.writeInbound(ByteBuffer(bytes: rest.prefix(piece)))
                channel.embeddedEventLoop.run()
                rest = rest.dropFirst(piece)
                while let part = try channel.readOutbound(as: ByteBuffer.self) { _ = part }
            }
        } catch {
            return
        }
    }

    private static func server(on loop: EmbeddedEventLoop) -> GRPCServer {
        var configuration = GRPCServerConfiguration()
        configuration.maxMessageBytes = 1 << 20
        configuration.resetBurst = 50
        var router = GRPCRouter()
        router.unary(echo) { message, _ in message }
        router.clientStreaming(sum) { requests, _ in
            var count = 0
            for try await request in requests { count += request.readableBytes }
            return ByteBuffer(string: "\(count)")
        }
        router.bidirectional(chat) { requests, writer, _ in
            for try await request in requests { try await writer.write(request) }
        }
        router.serverStreaming(count) { message, writer, _ in
            for _ in 0..<min(message.readableBytes, 10) { try await writer.write(message) }
        }
        return GRPCServer(configuration: configuration, router: router, group: loop)
    }

    private static let echo = GRPCMethod(service: "t", name: "Echo")
    private static let sum = GRPCMethod(service: "t", name: "Sum")
    private static let chat = GRPCMethod(service: "t", name: "Chat")
    private static let count = GRPCMethod(service: "t", name: "Count")

    static func seeds() -> [[UInt8]] {
        let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + frame(4, 0, 0, [])
        let calls = [echo, sum, chat, count].enumerated().map { call(UInt32($0.offset * 2 + 1), $0.element.path, [1, 2, 3, 4, 5]) }
        var session = preface + frame(4, 1, 0, []) + calls.flatMap { $0 }
        session += frame(6, 0, 0, [0, 0, 0, 0, 0, 0, 0, 1]) + frame(8, 0, 0, [0, 0, 4, 0]) + frame(2, 0, 9, [0, 0, 0, 1, 5])
        let split = request(chat.path, extra: field("grpc-timeout", "1S") + field("grpc-encoding", "gzip") + field("x-bin", "AAEC"))
        session += frame(1, 0, 11, Array(split.prefix(20))) + frame(9, 4, 11, Array(split.dropFirst(20)))
        session += frame(0, 0, 11, [0, 0, 0, 0, 3, 1, 2]) + frame(0, 0, 11, [3, 0]) + frame(3, 0, 11, [0, 0, 0, 8])
        session += frame(7, 0, 0, [0, 0, 0, 9, 0, 0, 0, 0])
        // A gzip stream of "hello", as one message.
        let packed: [UInt8] = [
            0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 7, 0, 0x86, 0xa6, 0x10, 0x36, 5, 0, 0, 0,
        ]
        let zipped = preface + frame(1, 4, 1, request(echo.path, extra: field("grpc-encoding", "gzip") + field("grpc-accept-encoding", "gzip")))
            + frame(0, 1, 1, [1, 0, 0, 0, UInt8(packed.count)] + packed)
        return [[0] + session, [7] + session, [0] + zipped, [0] + preface] + calls.map { [0] + preface + $0 }
    }

    private static func frame(_ type: UInt8, _ flags: UInt8, _ stream: UInt32, _ payload: [UInt8]) -> [UInt8] {
        let count = payload.count
        return [UInt8(count >> 16 & 255), UInt8(count >> 8 & 255), UInt8(count & 255), type, flags, 0, 0, 0, UInt8(stream)] + payload
    }

    /// A literal field that enters the dynamic table.
    private static func field(_ name: String, _ value: String) -> [UInt8] {
        [0x40, UInt8(name.utf8.count)] + name.utf8 + [UInt8(value.utf8.count)] + value.utf8
    }

    private static func request(_ path: String, extra: [UInt8] = []) -> [UInt8] {
        // Static-table fields of RFC 7541, appendix A: POST is 3, http is 6.
        [0x83, 0x86] + field(":path", path) + field(":authority", "t") + field("content-type", "application/grpc")
            + field("te", "trailers") + extra
    }

    private static func call(_ stream: UInt32, _ path: String, _ message: [UInt8]) -> [UInt8] {
        frame(1, 4, stream, request(path)) + frame(0, 1, stream, [0, 0, 0, 0, UInt8(message.count)] + message)
    }
}
