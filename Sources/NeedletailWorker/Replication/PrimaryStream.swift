internal import NeedletailAPI
internal import NeedletailCluster
internal import NeedletailCore
internal import NeedletailShard
internal import Synchronization

/// The primary's side of a stream to a backup: what the machine orders goes out, in order.
final class PrimaryStream: Sendable {
    private enum Order: Sendable {
        case answer(FollowAnswer)
        case send(SendOrder)
    }

    /// More does not go into one message, so that a backup's disk is never idle for long.
    private static let messageBytes = 2 << 20

    private let orders: AsyncStream<Order>
    private let queue: AsyncStream<Order>.Continuation
    /// From when the backup has said which shard it follows.
    private let driver = Mutex<ReplicaDriver?>(nil)

    init() { (orders, queue) = AsyncStream.makeStream() }

    func answer(_ answer: FollowAnswer) { queue.yield(.answer(answer)) }
    func send(_ order: SendOrder) { queue.yield(.send(order)) }
    /// What was ordered before still goes out, if the backup reads it.
    func close() { queue.finish() }

    /// Sends what is ordered, until the stream is closed.
    func run(_ replies: FollowReplies) async throws {
        for await order in orders {
            try Task.checkCancellation()
            switch order {
            case .answer(let answer):
                try await replies.write(.answer(answer))
                if case .agreed = answer { continue }
                return
            case .send(let order):
                guard let driver = driver.withLock({ $0 }) else { return }
                let budget = min(order.budgetBytes, Self.messageBytes)
                let records = budget > 0 ? try await driver.hosted.records(from: order.previous + 1, maximumBytes: budget) : []
                try await replies.write(
                    .records(RecordMessage(epoch: order.epoch, previous: order.previous, committed: order.committed, records: records)))
                let sizeBytes = records.reduce(0) { $0 + $1.payload.count }
                driver.receive(.sent(order.stream, through: records.last?.sequence ?? order.previous, sizeBytes: sizeBytes))
            }
        }
    }

    func begin(_ driver: ReplicaDriver) { self.driver.withLock { $0 = driver } }
}

extension ReplicaDriver {
    /// Begins to serve a backup; what it is to be told goes to `stream`.
    /// - Throws: `unavailable` when the replica is closing.
    func begin(_ follow: Follow, _ stream: PrimaryStream) throws(NeedletailError) {
        stream.begin(self)
        let isStopped = state.withLock { state in
            if state.isStopped { return true }
            state.outgoing[follow.stream] = stream
            state.receive(.follow(follow), now: now, queue: queue)
            return false
        }
        if isStopped { throw NeedletailError(.unavailable, "shard \(shard) is closing; ask again") }
    }

    func end(_ follow: Follow, _ stream: PrimaryStream) {
        state.withLock { state in if state.outgoing[follow.stream] === stream { state.outgoing[follow.stream] = nil } }
        receive(.streamEnded(follow.stream))
    }
}
