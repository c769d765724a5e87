import NeedletailCore
import NeedletailGRPC

/// Answers a streaming scroll with pages, each read only once the one before it is on its way: `write` suspends while the client does
/// not read, and throws once it is gone.
struct ScrollLoop {
    let operations: any ClusterOperations
    let writer: ResponseWriter

    /// A page of many large vectors would not fit one message, so it goes out in several.
    private static let messageBytes = 8 << 20

    func run(_ scroll: ScrollStream) async throws {
        var request = scroll.pages
        let page = request.limit
        var left = scroll.total ?? .max
        while left > 0 {
            try Task.checkCancellation()
            request.limit = Int(min(UInt64(page), left))
            let answer = try await operations.scroll(request)
            try await write(answer.points)
            left -= min(left, UInt64(answer.points.count))
            guard answer.hasMore else { return }
            guard let last = answer.points.last else {
                throw NeedletailError(.internal, "a scroll page came back empty although points follow; report this as a bug")
            }
            request.after = last.id
        }
    }

    private func write(_ points: [NamedPoint]) async throws {
        var start = 0
        while start < points.count {
            var (end, size) = (start, 0)
            repeat {
                size += Self.sizeBytes(points[end])
                end += 1
            } while end < points.count && size < Self.messageBytes
            try await writer.write(try PublicMessages.scrollPage.encode(Array(points[start..<end])))
            start = end
        }
    }

    /// About what the point takes on the wire.
    private static func sizeBytes(_ point: NamedPoint) -> Int {
        point.vectors.reduce(64 + point.payload.count * 2) { $0 + $1.vector.bytes.count + $1.field.utf8.count + 16 }
    }
}
