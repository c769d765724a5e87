import NIOCore
import NeedletailCore
import NeedletailGRPC

/// Carries out a stream of upserts with several writes in flight, so that the shards' build threads always have work.
///
/// Writes start in the order of the stream. Two writes to one id must not overtake each other, so a write starts only once no write in
/// flight shares an id with it; writes without shared ids may finish in any order, which nobody can tell. The first error ends the
/// stream: nothing later is started, what is in flight is cancelled and awaited.
struct UpsertPipeline {
    /// Enough that one write is being logged, some are being built into graphs, and one arrives.
    static let writesInFlight = 6

    let operations: any ClusterOperations
    let deadline: Deadline?

    func run(_ requests: RequestStream) async throws -> BulkSummary {
        try await withThrowingTaskGroup(of: Finished.self) { group in
            var state = State()
            for try await message in requests {
                let write = try prepare(try PublicMessages.upsert.decode(message), &state)
                if write.operations.isEmpty { continue }
                let ids = Set(write.operations.lazy.map(\.id))
                while state.mustWait(for: ids), let finished = try await group.next() { state.finish(finished) }
                let number = state.start(ids)
                let operations = operations
                group.addTask { Finished(number: number, summary: try await operations.write(write)) }
            }
            while let finished = try await group.next() { state.finish(finished) }
            return state.bulk
        }
    }

    private func prepare(_ decoded: PointsWrite, _ state: inout State) throws -> PointsWrite {
        var write = decoded
        if state.bulk.requests == 0 {
            guard !write.collection.isEmpty else {
                throw NeedletailError(.invalidArgument, "the first request of an upsert stream must name the collection")
            }
            state.collection = write.collection
        } else if write.collection.isEmpty {
            write.collection = state.collection
        } else if write.collection != state.collection {
            throw NeedletailError(
                .invalidArgument,
                "an upsert stream writes to one collection: this one to \"\(state.collection)\", not \"\(write.collection)\"; use another stream"
            )
        }
        write.deadline = deadline
        state.bulk.requests += 1
        return write
    }

    private struct Finished: Sendable {
        let number: UInt64
        let summary: WriteSummary
    }

    private struct State {
        var collection = ""
        var bulk = BulkSummary()
        private var inFlight: [UInt64: Set<PointID>] = [:]
        private var nextNumber: UInt64 = 0

        func mustWait(for ids: Set<PointID>) -> Bool {
            inFlight.count >= UpsertPipeline.writesInFlight || inFlight.values.contains { !$0.isDisjoint(with: ids) }
        }

        mutating func start(_ ids: Set<PointID>) -> UInt64 {
            nextNumber += 1
            inFlight[nextNumber] = ids
            return nextNumber
        }

        mutating func finish(_ finished: Finished) {
            inFlight[finished.number] = nil
            bulk.summary += finished.summary
        }
    }
}

extension WriteSummary {
    /// Adds counts and keeps the later sequence number of each shard.
    static func += (left: inout WriteSummary, right: WriteSummary) {
        left.applied += right.applied
        left.notFound += right.notFound
        if right.incarnation.value != 0 { left.incarnation = right.incarnation }
        left.sequences.merge(right.sequences) { max($0, $1) }
    }
}
