public import NeedletailCore
import NeedletailGRPC

extension RemoteCluster {
    /// The public API has a method for each kind of operation, so a mixed write goes as several calls, one after the other and in
    /// order. When one fails, those before it have been carried out.
    public func write(_ request: PointsWrite) async throws -> WriteSummary {
        try Self.refuse(request.filter)
        var total = WriteSummary()
        var start = 0
        while start < request.operations.count {
            let kind = Kind(request.operations[start])
            var end = start + 1
            while end < request.operations.count, kind.takes(request.operations[end]) { end += 1 }
            var part = request
            if start > 0 || end < request.operations.count {
                part.operations = Array(request.operations[start..<end])
                // Each call is a write of its own.
                part.operation = request.operation.map { OperationID(high: $0.high, low: $0.low &+ UInt64(start)) }
            }
            total += try await client.call(kind.method, kind.codec, part, PublicMessages.written, deadline: request.deadline)
            start = end
        }
        return total
    }

    /// Writes rows that lie side by side, without a message for each. Up to 10,000 of them.
    public func upsert(
        _ rows: PackedRows, collection: String, acknowledgement: ShardWrite.Acknowledgement = .applied, deadline: Deadline? = nil
    ) async throws -> WriteSummary {
        let message = try PackedUpsert.encode(rows, collection: collection, acknowledgement: acknowledgement)
        let answer = try await client.unary(PublicMethods.upsert, message, options: CallOptions(deadline: deadline))
        return try PublicMessages.written.decode(answer: answer)
    }

    /// Opens a stream of writes to one collection.
    public func upsertStream(
        collection: String, acknowledgement: ShardWrite.Acknowledgement = .applied, deadline: Deadline? = nil
    ) async throws -> BulkWriter {
        let call = try await client.clientStreaming(PublicMethods.upsertStream, options: CallOptions(deadline: deadline))
        return BulkWriter(call: call, collection: collection, acknowledgement: acknowledgement)
    }
}

/// What one message can carry.
private enum Kind {
    case upsert, delete
    case setPayload(Payload)
    case overwritePayload(Payload)
    case deletePayload([PayloadKey])

    init(_ operation: NamedOperation) {
        switch operation {
        case .upsert: self = .upsert
        case .delete: self = .delete
        case .setPayload(_, let payload): self = .setPayload(payload)
        case .overwritePayload(_, let payload): self = .overwritePayload(payload)
        case .deletePayloadKeys(_, let keys): self = .deletePayload(keys)
        }
    }

    func takes(_ operation: NamedOperation) -> Bool {
        switch (self, operation) {
        case (.upsert, .upsert), (.delete, .delete): true
        case (.setPayload(let mine), .setPayload(_, let other)): mine == other
        case (.overwritePayload(let mine), .overwritePayload(_, let other)): mine == other
        case (.deletePayload(let mine), .deletePayloadKeys(_, let other)): mine == other
        default: false
        }
    }

    var method: GRPCMethod {
        switch self {
        case .upsert: PublicMethods.upsert
        case .delete: PublicMethods.delete
        case .setPayload: PublicMethods.setPayload
        case .overwritePayload: PublicMethods.overwritePayload
        case .deletePayload: PublicMethods.deletePayload
        }
    }

    var codec: MessageCodec<PointsWrite> {
        switch self {
        case .upsert: PublicMessages.upsert
        case .delete: PublicMessages.delete
        case .setPayload: PublicMessages.setPayload
        case .overwritePayload: PublicMessages.overwritePayload
        case .deletePayload: PublicMessages.deletePayload
        }
    }
}
