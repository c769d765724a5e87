internal import CoreMetrics
internal import NeedletailCluster
internal import NeedletailCore
public import NeedletailTelemetry
internal import Synchronization

/// What a coordinator tells of what it is asked, and what that took.
public final class CoordinatorMetrics: Sendable {
    private let registry: MetricsRegistry
    private let queries: Counter
    private let partial: Counter
    private let hedges: Counter
    private let hedgesWon: Counter
    private let retries: Counter
    private let refusals: Counter
    private let slowQueries: Counter
    private let auditFailures: Counter
    private let plan: Recorder
    private let gather: Recorder
    private let merge: Recorder

    public init(_ registry: MetricsRegistry) {
        self.registry = registry
        queries = registry.counter(.queries)
        partial = registry.counter(.partialAnswers)
        hedges = registry.counter(.hedges)
        hedgesWon = registry.counter(.hedgesWon)
        retries = registry.counter(.retries)
        refusals = registry.counter(.refusals)
        slowQueries = registry.counter(.slowQueries)
        auditFailures = registry.counter(.auditFailures)
        plan = registry.histogram(.searchStages, ["plan"])
        gather = registry.histogram(.searchStages, ["gather"])
        merge = registry.histogram(.searchStages, ["merge"])
    }

    func searched(queries count: Int, _ profile: SearchProfile) {
        guard let planned = profile.planned else { return }
        plan.record(profile.began.duration(to: planned) / .seconds(1))
        guard let gathered = profile.gathered else { return }
        gather.record(planned.duration(to: gathered) / .seconds(1))
        guard let merged = profile.merged else { return }
        merge.record(gathered.duration(to: merged) / .seconds(1))
        queries.increment(by: count)
        if profile.isPartial { partial.increment() }
    }

    func auditFailed() { auditFailures.increment() }
    func slow() { slowQueries.increment() }

    func hedged() { hedges.increment() }
    func hedgeWon() { hedgesWon.increment() }
    func retried() { retries.increment() }
    func refused() { refusals.increment() }
    func noted(_ kind: String) { registry.counter(.events, [kind]).increment() }
}

extension Coordinator {
    /// How things stand, whenever somebody asks.
    public func report(to registry: MetricsRegistry) {
        registry.onCollect { [weak self] report in
            guard let self else { return }
            report.add(.isLeader, [], isLeader ? 1 : 0)
            state.withLock { $0.report(to: &report) }
        }
    }
}

extension Coordinator.State {
    fileprivate func report(to report: inout MetricsReport) {
        let now = ContinuousClock.now
        let (alive, drained) = (membership.nodes.values.filter { $0.isAlive(at: now, lease: Coordinator.lease) }, drainedNodes)
        let silent = Set(membership.nodes.keys).union(unheardNodes.map(\.id)).subtracting(alive.map(\.id))
        report.add(.nodes, ["alive"], alive.count)
        // Of those that were drained nobody waits for a sign of life: they were taken away.
        report.add(.nodes, ["silent"], silent.subtracting(drained).count)
        report.add(.nodes, ["drained"], drained.count)
        let active = collections.values.filter { $0.state == .active }
        report.add(.collections, [], active.count)
        report.add(.shards, ["ready"], readyShards)
        report.add(.shards, ["missing"], shardCount - readyShards)
        for entry in active { self.report(entry, now: now, to: &report) }
        report.add(.operations, ["move"], copy.operations.values.values.count { !$0.step.hasEnded })
        report.add(.operations, ["split"], copy.splits.values.values.count { !$0.step.hasEnded })
        report.add(.operations, ["merge"], copy.merges.values.values.count { !$0.step.hasEnded })
        report.add(.operations, ["backup"], copy.backups.values.values.count { !$0.step.hasEnded })
    }

    private func report(_ entry: CollectionEntry, now: ContinuousClock.Instant, to report: inout MetricsReport) {
        let labels = [entry.spec.name]
        var (points, inSync): (UInt64, Int) = (0, 0)
        for place in entry.shards {
            points += place.inSync.compactMap { membership.replica(entry.shardID(place), on: $0)?.pointCount }.max() ?? 0
            inSync += place.inSync.count { membership.isAlive($0, now: now) }
        }
        report.add(.collectionPoints, labels, points)
        report.add(.replicasWanted, labels, entry.shards.count * entry.spec.replicationFactor)
        report.add(.replicasInSync, labels, inSync)
    }
}
