internal import CoreMetrics
internal import NeedletailCore
internal import NeedletailStorage
public import NeedletailTelemetry

/// What a node tells of its replicas and its threads.
public final class ShardMetrics: Sendable {
    private let whole: Counter
    private let truncated: Counter
    private let failed: Counter
    private let distances: Counter
    private let hops: Counter
    private let duration: Recorder
    private let wait: Recorder
    private let logBytes: Counter
    private let logRecords: Counter
    private let logCommits: Counter
    private let logSeconds: FloatingPointCounter
    private let written: Counter
    private let unwritten: Counter
    private let checkpointSeconds: FloatingPointCounter

    public init(_ registry: MetricsRegistry) {
        whole = registry.counter(.searches, ["whole"])
        truncated = registry.counter(.searches, ["truncated"])
        failed = registry.counter(.searches, ["failed"])
        distances = registry.counter(.searchDistances)
        hops = registry.counter(.searchHops)
        duration = registry.histogram(.searchDuration)
        wait = registry.histogram(.searchWait)
        logBytes = registry.counter(.logBytes)
        logRecords = registry.counter(.logRecords)
        logCommits = registry.counter(.logCommits)
        logSeconds = registry.seconds(.logCommitSeconds)
        written = registry.counter(.checkpoints, ["written"])
        unwritten = registry.counter(.checkpoints, ["failed"])
        checkpointSeconds = registry.seconds(.checkpointSeconds)
    }

    /// - Parameter queries: of the request, each counted.
    func searched(queries: Int, _ report: ShardReport, isTruncated: Bool) {
        (isTruncated ? truncated : whole).increment(by: queries)
        distances.increment(by: Int64(clamping: report.work.distances))
        hops.increment(by: Int64(clamping: report.work.hops))
        duration.record(report.searched / .seconds(1))
        wait.record(report.waited / .seconds(1))
    }

    func searchFailed(queries: Int) { failed.increment(by: queries) }

    func logged(records: Int, bytes: Int, took: Duration) {
        logRecords.increment(by: records)
        logBytes.increment(by: bytes)
        logCommits.increment()
        logSeconds.increment(by: took / .seconds(1))
    }

    func checkpointed(isWritten: Bool, took: Duration) {
        (isWritten ? written : unwritten).increment()
        checkpointSeconds.increment(by: took / .seconds(1))
    }
}

extension LocalNode {
    /// How things stand, whenever somebody asks.
    public func report(to registry: MetricsRegistry) {
        registry.onCollect { [weak self] report in
            guard let self else { return }
            resources.report(to: &report)
            for state in [ReplicaStatus.State.loading, .ready, .readOnly, .failed] { report.add(.replicas, [state.label], 0) }
            for status in currentStatus() {
                report.add(.replicas, [status.state.label], 1)
                guard let replica = try? replica(status.shard) else { continue }
                replica.report(status, to: &report)
            }
        }
    }
}

extension NodeResources {
    fileprivate func report(to report: inout MetricsReport) {
        for (name, pool) in [
            ("search", searchPool), ("build", buildPool), ("intake", intakePool), ("checkpoint", checkpointPool), ("maintenance", maintenancePool),
            ("training", trainingPool), ("copy", copyPool), ("sampling", samplingPool), ("sync", syncPool),
        ] {
            let load = pool.load
            report.add(.poolQueue, [name], load.waiting)
            report.add(.poolThreads, [name], pool.threadCount)
            report.add(.poolJobs, [name], load.jobs)
            report.add(.poolBusy, [name], load.busy / .seconds(1))
        }
    }
}

extension Replica {
    fileprivate func report(_ status: ReplicaStatus, to report: inout MetricsReport) {
        let labels = [assignment.collection.name, "\(status.shard.number)"]
        report.add(.replicaPoints, labels, status.pointCount)
        report.add(.replicaMemory, labels, status.memoryBytes)
        report.add(.replicaDisk, labels, status.diskBytes)
        report.add(.replicaData, labels, status.dataBytes)
        report.add(.replicaSequence, labels, status.appliedSequence)
        report.add(.recallSamples, labels, status.recall.samples)
        if status.recall.samples > 0 {
            report.add(.sampledRecall, labels, status.recall.recall)
            report.add(.localDimension, labels, status.recall.localIntrinsicDimension)
        }
        for slab in slabs where slab.folder == nil { report.add(.memoryByPart, [slab.part], slab.slotCount * slab.strideBytes) }
        report.add(.memoryByPart, ["ids"], points.mapBytes)
        report.add(.memoryByPart, ["payloads"], payloads.sizeBytes)
    }
}

extension SlabArray {
    /// "links" of "field-0-links", "codes" of "field-0-codes-3".
    fileprivate var part: String {
        let parts = name.split(separator: "-")
        return parts.count > 2 ? String(parts[2]) : name
    }
}

extension ReplicaStatus.State {
    fileprivate var label: String {
        switch self {
        case .loading: "loading"
        case .ready: "ready"
        case .readOnly: "read_only"
        case .failed: "failed"
        }
    }
}
