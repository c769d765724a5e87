internal import HTTPTypes
internal import HummingbirdCore
internal import NIOCore
internal import Synchronization

/// Bodies of requests, from their first bytes until they are answered: each no longer than a message of the API, and all together no more than a process
/// has room for.
final class RequestBodies: Sendable {
    /// The longest body, as long as the longest message of the API.
    private static let mostBytes = 64 << 20
    /// Of all at one time.
    private static let mostBytesTogether = 256 << 20

    private let held = Atomic<Int>(0)

    /// Reads the body, and answers while it counts.
    func withBody(of request: Request, _ answer: (ByteBuffer) async -> AdminAnswer) async throws -> AdminAnswer {
        // What is said to be too long is not waited for.
        if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > Self.mostBytes { return Self.tooLong }
        var body = ByteBuffer()
        defer { held.wrappingSubtract(body.writerIndex, ordering: .relaxed) }
        for try await var part in request.body {
            let bytes = part.readableBytes
            guard body.writerIndex + bytes <= Self.mostBytes else { return Self.tooLong }
            let isRoom = held.wrappingAdd(bytes, ordering: .relaxed).newValue <= Self.mostBytesTogether
            body.writeBuffer(&part)
            guard isRoom else { return Self.tooMany }
        }
        return await answer(body)
    }

    private static let tooLong = refusal(413, "a body has at most \(mostBytes >> 20) MiB; send several requests")
    private static let tooMany = refusal(429, "the bodies of the requests under way take all of the \(mostBytesTogether >> 20) MiB that they may; try again")

    private static func refusal(_ status: Int, _ words: String) -> AdminAnswer {
        AdminAnswer(
            status: status, headers: [("content-type", "application/json")],
            body: .whole(ByteBuffer(string: "{\"code\":\"resource_exhausted\",\"message\":\"\(words)\"}")))
    }
}
