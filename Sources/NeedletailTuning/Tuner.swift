public import NeedletailCore
internal import NeedletailIndex
internal import NeedletailVectors
internal import Synchronization

/// What to try and what is wanted.
public struct TuningPlan: Sendable {
    public var metric: Metric
    /// How vectors are stored: f32, f16 or u8.
    public var element: VectorElement
    public var specs: [IndexSpec]
    /// Answers of a query.
    public var limit = 10
    public var recall = 0.95
    /// What a vector may take; nil sets no limit.
    public var memoryBytes: Int?
    /// Time to spend: no spec is begun that is likely to take longer. One is tried in any case.
    public var seconds = 120.0
    /// Threads that build graphs. Searches run on one.
    public var threads = 1

    public init(metric: Metric, element: VectorElement, specs: [IndexSpec]) {
        self.metric = metric
        self.element = element
        self.specs = specs
    }
}

/// Tries index specs on vectors: each is trained and built, and searched with rising breadth against exact answers.
public struct Tuner: Sendable {
    private let plan: TuningPlan
    private let base: [DenseVector]
    private let queries: [DenseVector]
    private let field: VectorField

    /// - Throws: `invalidArgument` for no vectors or queries, a metric of bits, or a spec that is not legal.
    public init(_ plan: TuningPlan, base: [DenseVector], queries: [DenseVector], dimensions: Int) throws(NeedletailError) {
        guard plan.metric != .hamming, plan.element != .bit else {
            throw NeedletailError(.invalidArgument, "fields of bits are their own code: there is nothing to tune but ef; use none")
        }
        guard !base.isEmpty, !queries.isEmpty else {
            throw NeedletailError(.invalidArgument, "specs are tried on vectors and queries; give at least one of each, better thousands of vectors")
        }
        field = VectorField(name: "v", dimensions: dimensions, metric: plan.metric, element: plan.element)
        for spec in plan.specs { try spec.validate(field: "v", dimensions: dimensions, metric: plan.metric, element: plan.element) }
        self.plan = plan
        self.base = base
        self.queries = queries
    }

    /// - Parameter progress: told of every spec before it is built.
    /// - Throws: `invalidArgument` for a vector that does not fit.
    public func run(progress: (IndexSpec, _ number: Int) -> Void = { _, _ in }) async throws -> TuningReport {
        let clock = ContinuousClock()
        let begin = clock.now
        var measurements: [TuningMeasurement] = []
        var leftOut: [IndexSpec] = []
        var truth: [Float]?
        var longest = 0.0
        for (number, spec) in plan.specs.enumerated() {
            let start = clock.now
            guard number == 0 || begin.duration(to: start).milliseconds / 1000 + longest <= plan.seconds else {
                leftOut.append(spec)
                continue
            }
            progress(spec, number)
            guard let made = try measurable(spec) else {
                leftOut.append(spec)
                continue
            }
            try await build(made.index)
            var scratch = SearchScratch()
            let worst = try truth ?? farthest(made.index, scratch: &scratch)
            truth = worst
            for found in try sweep(made.index, worst, scratch: &scratch) {
                measurements.append(
                    TuningMeasurement(
                        spec: made.form.spec, ef: found.ef, memoryBytes: made.form.memoryBytes, fileBytes: made.form.fileBytes,
                        queriesPerSecond: found.queriesPerSecond, recall: found.recall))
            }
            longest = max(longest, start.duration(to: clock.now).milliseconds / 1000)
        }
        return TuningReport(measurements, recall: plan.recall, memoryBytes: plan.memoryBytes, leftOut: leftOut)
    }

    /// A spec, and what a vector takes with it.
    private struct Form {
        var spec: IndexSpec
        var memoryBytes: Int
        var fileBytes: Int
    }

    /// The empty graph of a spec and what it takes; nil when that is too much, or the sample is too small to learn from. When the vectors do
    /// not fit into the memory beside their codes, they are left in a file; they are measured as if the system had kept its pages.
    private func measurable(_ spec: IndexSpec) throws -> (index: HNSWIndex, form: Form)? {
        var field = field
        field.index = spec
        guard base.count >= spec.leastSample else { return nil }
        let strides = GraphMemory.strides(field: field)
        let graph = strides.links + strides.nodes + strides.upper / (spec.graph.m - 1)
        guard graph + (spec.needsTraining ? 0 : strides.rows) <= plan.memoryBytes ?? .max else { return nil }
        let codec = spec.needsTraining ? try CodecTraining.train(field, sample: sample()).rowCodec() : nil
        let walked = graph + (codec?.strideBytes ?? 0)
        let fits = walked + strides.rows <= plan.memoryBytes ?? .max
        if codec != nil, !fits { field.index.rescore.source = .file }
        var form = Form(spec: field.index, memoryBytes: walked + strides.rows, fileBytes: 0)
        if field.index.rescore.source == .file { form = Form(spec: field.index, memoryBytes: walked, fileBytes: strides.rows) }
        guard form.memoryBytes <= plan.memoryBytes ?? .max else { return nil }
        let memory = GraphMemory.plain(field: field, codec: codec, capacity: base.count)
        return (HNSWIndex(field: field, codec: codec, memory: memory, capacity: base.count), form)
    }

    private func sample() throws -> VectorSample {
        let distance = RowDistance(layout: VectorLayout(field: field))
        let count = min(base.count, CodecTraining.sampleCount)
        var values: [Float] = []
        for row in 0..<count {
            values += distance.floats(try distance.layout.convert(base[row * base.count / count], field: field.name))
        }
        return try VectorSample(values, dimensions: field.dimensions)
    }

    private func build(_ index: HNSWIndex) async throws {
        try index.ensureCapacity(slots: base.count)
        let next = NextRow()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<max(1, plan.threads) {
                group.addTask {
                    var scratch = SearchScratch()
                    while let row = next.take(below: base.count) {
                        index.store(try index.distance.layout.convert(base[row], field: field.name), slot: UInt32(row), scratch: &scratch)
                        try index.link(slot: UInt32(row), id: .number(UInt64(row)), scratch: &scratch)
                        index.publish(slot: UInt32(row))
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    /// The distance of each query's last true neighbour: what is as near is right, which of equal vectors it may be.
    private func farthest(_ index: HNSWIndex, scratch: inout SearchScratch) throws -> [Float] {
        try queries.map { query in
            try index.exactSearch(query, limit: plan.limit, deadline: nil, scratch: &scratch, precedes: <).nearest.last?.distance ?? 0
        }
    }

    private static let breadths = [1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32]
    /// Passes over the queries, of which the fastest counts: others use the machine too.
    private static let passes = 3

    /// Ends where nothing is left to find.
    private func sweep(
        _ index: HNSWIndex, _ worst: [Float], scratch: inout SearchScratch
    ) throws -> [(ef: Int, queriesPerSecond: Double, recall: Double)] {
        var found: [(ef: Int, queriesPerSecond: Double, recall: Double)] = []
        let wanted = min(plan.limit, base.count)
        let clock = ContinuousClock()
        for breadth in Self.breadths {
            let ef = min(Limits.ef, Int((Double(plan.limit) * breadth).rounded(.up)))
            if ef == found.last?.ef { break }
            var best = Double.infinity
            var hits = 0
            for _ in 0..<Self.passes {
                hits = 0
                let start = clock.now
                for (query, worst) in zip(queries, worst) {
                    let answer = try index.search(query, limit: plan.limit, ef: ef, deadline: nil, scratch: &scratch)
                    hits += answer.nearest.prefix(wanted).count { $0.distance <= worst }
                }
                best = min(best, start.duration(to: clock.now).milliseconds / 1000)
            }
            let recall = Double(hits) / Double(wanted * queries.count)
            found.append((ef, Double(queries.count) / max(best, 1e-9), recall))
            if recall >= 0.9995 { break }
        }
        return found
    }
}

/// Hands out rows, each once, to any thread.
private final class NextRow: Sendable {
    private let next = Atomic<Int>(0)

    func take(below bound: Int) -> Int? {
        let row = next.wrappingAdd(1, ordering: .relaxed).oldValue
        return row < bound ? row : nil
    }
}
