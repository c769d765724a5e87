internal import NeedletailCore
internal import NeedletailStorage
internal import NeedletailTelemetry
internal import Synchronization

/// The spans of a traced write from its being queued for the log until searches see it.
final class WriteTrace: Sendable {
    private struct Times {
        var durable: ContinuousClock.Instant?
        var committed: ContinuousClock.Instant?
    }

    private let span: Span
    /// From here until every in-sync replica has the write: what their spans are parts of. Nil on those, and where there are none.
    private let replication: Span?
    private let isPrimary: Bool
    private let queued = ContinuousClock.now
    private let times = Mutex(Times())

    /// On the primary.
    init(_ request: Span, shard: ShardID, hasBackups: Bool) {
        span = request
        isPrimary = true
        replication = hasBackups ? request.child("replicate", .producer, [SpanAttribute("needletail.shard", .count(shard.number))]) : nil
    }

    /// On a backup; nil when the record is of no traced write.
    init?(_ record: LogRecord, shard: ShardID, _ tracer: Tracer?) {
        guard let tracer, let parent = record.traceparent, let context = TraceContext(parents: [parent]), context.isSampled else { return nil }
        let attributes = [SpanAttribute("needletail.shard", .count(shard.number)), SpanAttribute("needletail.sequence", .count(record.sequence))]
        span = tracer.begin("log on a backup", .consumer, from: context, attributes)
        isPrimary = false
        replication = nil
    }

    /// For the records on their way to backups.
    var traceparent: String? { replication?.context.traceparent }

    /// - Parameter commit: when the group of records that it was written with began to be written, and to be synced.
    func becameDurable(_ commit: CommitTimes) {
        let now = ContinuousClock.now
        times.withLock { $0.durable = now }
        span.record("append", from: queued, to: commit.syncing)
        span.record("fsync", from: commit.syncing, to: now)
        if !isPrimary { span.end(at: now) }
    }

    /// On the disks of all in-sync replicas.
    func committed() {
        times.withLock { $0.committed = .now }
        replication?.end()
    }

    /// Searches see it.
    func applied() {
        let times = times.withLock { $0 }
        guard let begin = times.committed ?? times.durable else { return }
        span.record("apply", from: begin)
    }
}
