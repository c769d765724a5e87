import NIOCore
public import NeedletailCore
import NeedletailGRPC

/// Writes points to one collection through one stream. One task uses it.
///
/// `send` suspends while the server has as much as it can take. Nothing is acknowledged before `finish` returns; dropping the writer
/// cancels the stream.
public struct BulkWriter: Sendable {
    private let call: ClientStreamingCall
    private let collection: String
    private let acknowledgement: ShardWrite.Acknowledgement

    init(call: ClientStreamingCall, collection: String, acknowledgement: ShardWrite.Acknowledgement) {
        self.call = call
        self.collection = collection
        self.acknowledgement = acknowledgement
    }

    /// Sends upserts, up to 10,000 at a time; some hundreds to a few thousand are best.
    public func send(_ operations: [NamedOperation]) async throws {
        try await send(
            try PublicMessages.upsert.encode(
                PointsWrite(collection: collection, operations: operations, acknowledgement: acknowledgement)))
    }

    /// Sends rows that lie side by side, up to 10,000 at a time.
    public func send(_ rows: PackedRows) async throws {
        try await send(try PackedUpsert.encode(rows, collection: collection, acknowledgement: acknowledgement))
    }

    private func send(_ message: ByteBuffer) async throws {
        do {
            try await call.send(message)
        } catch {
            // The server ended the stream early; its status says more than the failure to send.
            do { _ = try await call.finish() } catch let status { throw status }
            throw error
        }
    }

    /// Ends the stream and waits until everything sent is acknowledged.
    public func finish() async throws -> WriteSummary {
        try PublicMessages.streamWritten.decode(answer: try await call.finish()).summary
    }

    public func cancel() { call.cancel() }
}
