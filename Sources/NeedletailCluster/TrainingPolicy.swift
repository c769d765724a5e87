public import NeedletailCore

/// When codecs are trained, on how much, and who is told.
public enum TrainingPolicy {
    /// Vectors beyond which a sample changes little.
    static let sampleVectors = 20_000
    /// A sample travels in one message.
    static let sampleBytes = 48 << 20
    /// What a model's projection may take: it is kept in the metadata and sent in answer to a heartbeat.
    public static let modelBytes = 32 << 20
    /// The fewest points of a collection that is trained unasked.
    static let fewestPoints: UInt64 = 2_000

    private static func outputDimensions(_ field: VectorField) -> Int {
        field.index.transform.map.outputDimensions ?? field.index.transform.prefix ?? field.dimensions
    }

    /// Points a collection needs before the field is trained without being asked to be: 2,000, or four for each dimension that the
    /// transform leaves if that is more.
    public static func points(_ field: VectorField) -> UInt64 { max(fewestPoints, 4 * UInt64(outputDimensions(field))) }

    /// Vectors to train a field on, if there are so many.
    public static func sampleCount(_ field: VectorField) -> Int {
        min(sampleVectors, max(sampleBytes / (4 * field.dimensions), leastSample(field)))
    }

    /// Vectors without which training is refused.
    public static func leastSample(_ field: VectorField) -> Int { field.index.leastSample }

    /// - Throws: `invalidArgument` for a codec whose parameters are too large to hand out.
    public static func check(_ field: VectorField) throws(NeedletailError) {
        let prepared = field.index.transform.prefix ?? field.dimensions
        let centroids = field.index.codec.centroidValues(dimensions: outputDimensions(field))
        let bytes = 4 * (prepared * (field.index.transform.map.outputDimensions ?? 0) + centroids)
        guard bytes <= modelBytes else {
            throw NeedletailError(
                .invalidArgument,
                "field \"\(field.name)\": a projection and centroids of \(bytes >> 20) MiB are too large for the cluster's metadata "
                    + "(\(modelBytes >> 20) MiB); use fewer output dimensions, a prefix, or fewer levels")
        }
    }

    /// Fields to be trained now.
    public static func due(_ entry: CollectionEntry, points: UInt64) -> [Int] {
        guard entry.state == .active else { return [] }
        return untrained(entry).filter { !entry.spec.fields[$0].index.transform.needsQueries && points >= Self.points(entry.spec.fields[$0]) }
    }

    /// Fields with a codec and without a model.
    public static func untrained(_ entry: CollectionEntry) -> [Int] {
        entry.spec.fields.indices.filter { entry.spec.fields[$0].index.needsTraining && entry.model(field: $0) == nil }
    }

    /// How many vectors to draw from each of the shards, in proportion to their points: at least `count` in all when there are so many.
    public static func shares(of count: Int, points: [UInt64]) -> [Int] {
        let total = points.reduce(0, +)
        if total <= UInt64(count) { return points.map { Int($0) } }
        return points.map { Int((Double($0) / Double(total) * Double(count)).rounded(.up)) }
    }

    /// The models to send a node in answer to its heartbeat: those that one of its replicas that serve lacks, at most about `limitBytes`.
    /// What does not fit goes with a later heartbeat.
    public static func models(
        for node: NodeID, of entries: some Sequence<CollectionEntry>, replicas: [ShardID: ReplicaStatus], limitBytes: Int = modelBytes
    ) -> [CollectionModel] {
        var models: [CollectionModel] = []
        var bytes = 0
        for entry in entries where !entry.models.isEmpty && entry.state != .deleting {
            let statuses = entry.shards.filter { $0.replicas.contains(node) }.compactMap { replicas[entry.shardID($0)] }
            for model in entry.models {
                // One at a time: a replica that is still encoding for an earlier one has to finish that.
                let isMissing = statuses.contains { status in
                    let codec = status.codecs[model.field] ?? CodecProgress()
                    return status.state == .ready && codec.version < model.version && (codec.version == 0 || codec.isDone)
                }
                guard isMissing, bytes == 0 || bytes + model.bytes.count <= limitBytes else { continue }
                bytes += model.bytes.count
                models.append(CollectionModel(incarnation: entry.incarnation, model: model))
            }
        }
        return models
    }

    /// How far the codecs of a collection's fields are, by what its replicas last said.
    /// - Parameter problem: why a field could not be trained.
    public static func progress(
        _ entry: CollectionEntry, problem: (_ field: Int) -> String = { _ in "" }, replica: (ShardPlace) -> ReplicaStatus?
    ) -> [CodecProgress] {
        let replicas = entry.shards.map(replica)
        return entry.spec.fields.indices.map { field in
            guard let model = entry.model(field: field) else { return CodecProgress(problem: problem(field)) }
            return replicas.reduce(into: CodecProgress(version: model.version)) { sum, status in
                if let codec = status?.codecs[field], codec.version == model.version {
                    sum.encoded += codec.encoded
                    sum.total += codec.total
                    if let status, sum.problem.isEmpty, !codec.problem.isEmpty { sum.problem = "shard \(status.shard.number): \(codec.problem)" }
                } else {
                    // Not heard of yet: all is to be done, and that is more than nothing.
                    sum.total += max(1, status?.pointCount ?? 1)
                }
            }
        }
    }
}

extension TransformSpec {
    /// Whether it is fitted to queries, which only a caller can give.
    public var needsQueries: Bool { if case .leanVec(_, queryAware: true) = map { true } else { false } }
}
