internal import NeedletailCluster
public import NeedletailCore
internal import Synchronization

extension Coordinator {
    /// How long a field that could not be trained unasked is left alone.
    private static let trainingPause = Duration.seconds(10)
    /// For each of the steps of a training that nobody waits for.
    private static let trainingTime = Duration.seconds(300)

    /// A field of one life of a collection.
    struct TrainedField: Hashable {
        var incarnation: Incarnation
        var field: Int
    }

    /// Why a field could not be trained unasked.
    public struct FailedTraining: Sendable {
        public let collection: String
        public let field: String
        public let reason: String
        /// It is left alone until then.
        let pause: ContinuousClock.Instant
    }

    public func train(_ request: CollectionTraining) async throws -> CollectionInfo {
        if let leader = try leaderElsewhere() { return try await leader.train(request) }
        let entry = try entry(request.collection)
        var fields = TrainingPolicy.untrained(entry)
        if !request.field.isEmpty {
            let number = try FieldNames(entry.spec).number(request.field)
            guard entry.spec.fields[number].index.needsTraining else {
                throw NeedletailError(.invalidArgument, "field \"\(request.field)\" has no codec: there is nothing to train")
            }
            fields = [number]
        }
        guard entry.spec.fields.contains(where: \.index.needsTraining) else {
            throw NeedletailError(.failedPrecondition, "no field of collection \"\(request.collection)\" has a codec: there is nothing to train")
        }
        for field in fields {
            try await train(field, of: entry, least: TrainingPolicy.leastSample(entry.spec.fields[field]), request)
        }
        return try await collection(request.collection, deadline: request.deadline)
    }

    /// Trains what has enough points, on the leader: called on the clock. What fails is tried again after a pause.
    ///
    /// - Parameter quiet: a collection with fewer points than a sample takes is left alone until it has not grown for so long: in the middle of a
    ///   load there will be a better sample soon.
    /// - Returns: what failed, and had not failed for the same reason the last time.
    @discardableResult public func trainWhatIsDue(quiet: Duration = .zero) async -> [FailedTraining] {
        guard isLeader else { return [] }
        let now = ContinuousClock.now
        let due: [(CollectionEntry, [Int])] = state.withLock { state in
            let living = Set(state.collections.values.map(\.incarnation))
            state.failedTrainings = state.failedTrainings.filter { living.contains($0.key.incarnation) }
            state.growth = state.growth.filter { living.contains($0.key) }
            return state.collections.values.compactMap { entry in
                let points = entry.shards.reduce(0) { $0 + (state.membership.replica(entry.shardID($1), on: $1.primary)?.pointCount ?? 0) }
                if state.growth[entry.incarnation]?.points != points { state.growth[entry.incarnation] = (points, now) }
                let isQuiet = state.growth[entry.incarnation].map { $0.since.duration(to: now) >= quiet } ?? true
                let fields = TrainingPolicy.due(entry, points: points).filter { field in
                    guard isQuiet || points >= UInt64(TrainingPolicy.sampleCount(entry.spec.fields[field])) else { return false }
                    return state.failedTrainings[TrainedField(incarnation: entry.incarnation, field: field)].map { $0.pause <= now } ?? true
                }
                return fields.isEmpty ? nil : (entry, fields)
            }
        }
        var failures: [FailedTraining] = []
        for (entry, fields) in due {
            for field in fields {
                let key = TrainedField(incarnation: entry.incarnation, field: field)
                let request = CollectionTraining(collection: entry.spec.name, deadline: .after(Self.trainingTime))
                do {
                    let spec = entry.spec.fields[field]
                    // Points may lack the field: then there are fewer vectors than points.
                    let least = min(Int(TrainingPolicy.points(spec)), TrainingPolicy.sampleCount(spec))
                    try await train(field, of: entry, least: least, request)
                    state.withLock { $0.failedTrainings[key] = nil }
                } catch {
                    let reason = Self.wrap(error).message
                    let failure = FailedTraining(
                        collection: entry.spec.name, field: entry.spec.fields[field].name, reason: reason, pause: .now + Self.trainingPause)
                    let last = state.withLock { $0.failedTrainings.updateValue(failure, forKey: key) }
                    if last?.reason != reason { failures.append(failure) }
                }
            }
        }
        return failures
    }

    /// Samples all shards, has one worker train, and stores what it learned.
    private func train(_ number: Int, of entry: CollectionEntry, least: Int, _ request: CollectionTraining) async throws {
        let key = TrainedField(incarnation: entry.incarnation, field: number)
        let field = entry.spec.fields[number]
        guard state.withLock({ $0.training.insert(key).inserted }) else {
            throw NeedletailError(.aborted, "field \"\(field.name)\" is being trained; ask for its state with `needletail collection show`")
        }
        defer { state.withLock { _ = $0.training.remove(key) } }
        let version = entry.model(field: number)?.version ?? 0
        let sample = try await sample(number, of: entry, seed: version, request.deadline)
        let count = sample.count / (4 * field.dimensions)
        guard count >= least else {
            throw NeedletailError(
                .failedPrecondition, "field \"\(field.name)\" has \(count) vectors, and training its codec takes at least \(least); load more first")
        }
        let training = CodecTrainingRequest(field: field, sample: sample, queries: request.queries, deadline: request.deadline)
        let place = entry.shards[number % entry.shards.count]
        let bytes = try await ask(place.primary, about: [entry.shardID(place)]) { try await $0.train(training) }
        try await exclusively(entry.spec.name, request.deadline) {
            let present = try self.entry(entry.spec.name)
            guard present.incarnation == entry.incarnation, present.model(field: number)?.version ?? 0 == version else {
                throw NeedletailError(.aborted, "collection \"\(entry.spec.name)\" was changed while its codec was trained; try again")
            }
            var trained = present
            trained.models.removeAll { $0.field == number }
            trained.models.append(FieldModel(field: number, version: version + 1, bytes: bytes))
            guard try await store(trained, replacing: present) else {
                throw NeedletailError(.aborted, "collection \"\(entry.spec.name)\" was changed by another coordinator; try again")
            }
        }
    }

    /// Vectors of all shards, in proportion to their points; shards follow one another by number.
    /// - Parameter seed: another one draws other vectors.
    private func sample(_ field: Int, of entry: CollectionEntry, seed: UInt64, _ deadline: Deadline?) async throws -> [UInt8] {
        let points = try await ofEachShard(entry) { worker, shard in try await worker.count(shard, condition: ReadCondition(), deadline: deadline).count }
        let shares = TrainingPolicy.shares(of: TrainingPolicy.sampleCount(entry.spec.fields[field]), points: points)
        let wanted = Dictionary(uniqueKeysWithValues: zip(entry.shards.map(entry.shardID), shares))
        let parts = try await ofEachShard(entry) { worker, shard -> [UInt8] in
            guard let count = wanted[shard], count > 0 else { return [] }
            let request = ShardSample(shard: shard, field: field, count: count, seed: seed << 32 | UInt64(shard.number), deadline: deadline)
            return try await worker.sample(request)
        }
        return Array(parts.joined())
    }

    /// Asks the primary of every shard, all side by side; the answers come in the order of the shards.
    private func ofEachShard<Value: Sendable>(
        _ entry: CollectionEntry, _ body: @escaping @Sendable (any ShardOperations, ShardID) async throws -> Value
    ) async throws -> [Value] {
        try await withThrowingTaskGroup(of: (Int, Value).self) { group in
            for (index, place) in entry.shards.enumerated() {
                let shard = entry.shardID(place)
                group.addTask { (index, try await self.ask(place.primary, about: [shard]) { try await body($0, shard) }) }
            }
            var values: [Int: Value] = [:]
            for try await (index, value) in group { values[index] = value }
            return entry.shards.indices.compactMap { values[$0] }
        }
    }

    /// What clients are told of a collection.
    func info(_ entry: CollectionEntry) -> CollectionInfo {
        let codecs = state.withLock { state in
            TrainingPolicy.progress(
                entry,
                problem: { field in
                    state.failedTrainings[TrainedField(incarnation: entry.incarnation, field: field)].map { "training failed: \($0.reason)" } ?? ""
                },
                replica: { state.membership.replica(entry.shardID($0), on: $0.primary) })
        }
        var spec = entry.spec
        // There may be more by now than it was made with.
        spec.shardCount = entry.shards.count
        return CollectionInfo(spec: spec, incarnation: entry.incarnation, codecs: codecs)
    }
}
