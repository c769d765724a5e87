public import NeedletailCore

/// What one index spec reached at one breadth of the walk, on a sample.
public struct TuningMeasurement: Sendable, Hashable {
    public var spec: IndexSpec
    public var ef: Int
    /// Memory a vector: codes, links and nodes, and the stored vector unless the spec leaves it in a file.
    public var memoryBytes: Int
    /// Of the mapped file, a vector; 0 for specs that rescore from memory.
    public var fileBytes: Int
    /// Of one thread.
    public var queriesPerSecond: Double
    /// Mean recall@limit.
    public var recall: Double

    public init(spec: IndexSpec, ef: Int, memoryBytes: Int, fileBytes: Int = 0, queriesPerSecond: Double, recall: Double) {
        self.spec = spec
        self.ef = ef
        self.memoryBytes = memoryBytes
        self.fileBytes = fileBytes
        self.queriesPerSecond = queriesPerSecond
        self.recall = recall
    }

    /// Whether it is as good as another one in memory, speed and recall, and better in one of them.
    func dominates(_ other: TuningMeasurement) -> Bool {
        guard memoryBytes <= other.memoryBytes, queriesPerSecond >= other.queriesPerSecond, recall >= other.recall else { return false }
        return memoryBytes < other.memoryBytes || queriesPerSecond > other.queriesPerSecond || recall > other.recall
    }
}

/// All that was measured, what of it is worth a choice, and which one to take.
public struct TuningReport: Sendable, Hashable {
    public let measurements: [TuningMeasurement]
    /// Those that no other one dominates, by rising memory, then rising recall: each is the answer to some wish.
    public let front: [TuningMeasurement]
    /// The fastest with the recall that is wanted; of equally fast ones the smallest. When none has it, the one with the largest recall.
    public let suggestion: TuningMeasurement?
    public let reachesRecall: Bool
    /// Of each spec on the front the least breadth with the recall that is wanted; of one that has it at no breadth its largest recall there.
    public let choices: [TuningMeasurement]
    /// Specs for which no time was left, or that do not fit into the memory.
    public let leftOut: [IndexSpec]

    /// - Parameters:
    ///   - recall: what is wanted.
    ///   - memoryBytes: what a vector may take at most; nil sets no limit.
    public init(_ measurements: [TuningMeasurement], recall: Double, memoryBytes: Int? = nil, leftOut: [IndexSpec] = []) {
        self.measurements = measurements
        self.leftOut = leftOut
        let fitting = measurements.filter { $0.memoryBytes <= memoryBytes ?? .max }
        var seen: Set<TuningMeasurement> = []
        let front = fitting
            .filter { candidate in !fitting.contains { $0.dominates(candidate) } && seen.insert(candidate).inserted }
            .sorted { ($0.memoryBytes, $0.recall, $0.ef) < ($1.memoryBytes, $1.recall, $1.ef) }
        let good = front.filter { $0.recall >= recall }
        self.front = front
        let able = Set(fitting.filter { $0.recall >= recall }.map(\.spec))
        choices = front.filter { entry in
            let others = front.filter { $0.spec == entry.spec && $0 != entry }
            return entry.recall >= recall
                ? !others.contains { $0.recall >= recall && $0.ef < entry.ef }
                : !able.contains(entry.spec) && !others.contains { $0.recall > entry.recall }
        }
        reachesRecall = !good.isEmpty
        suggestion =
            good.max { ($0.queriesPerSecond, -$0.memoryBytes) < ($1.queriesPerSecond, -$1.memoryBytes) }
            ?? front.max { ($0.recall, $0.queriesPerSecond) < ($1.recall, $1.queriesPerSecond) }
    }
}
