internal import NeedletailCore
internal import NeedletailIndex
internal import NeedletailStorage
internal import NeedletailVectors
internal import Synchronization

// Recall: measured on real queries, and promised to queries that ask for some.
extension Replica {
    /// Fewer points than this are compared one by one when a recall is asked for: that costs what a walk costs.
    static let smallPartition = 1_000

    /// How a query is to be answered.
    struct SearchPlan {
        var isExact: Bool
        var effort: SearchEffort
        /// What becomes of the query's recall target; nil without one.
        var estimate: RecallEstimate?
    }

    /// Turns a recall target into an effort, and has the calibration made that it needs.
    /// - Parameter isFiltered: calibrations are of walks without a filter, and say nothing then.
    func plan(_ query: SearchQuery, isFiltered: Bool = false) -> SearchPlan {
        let ef = max(query.limit, query.ef ?? SearchQuery.defaultEf(limit: query.limit))
        var plan = SearchPlan(isExact: query.exact, effort: SearchEffort(ef: ef))
        guard let target = query.recallTarget, !query.exact else { return plan }
        if isFiltered {
            plan.estimate = RecallEstimate(recall: 0, isCalibrated: false)
            return plan
        }
        let count = points.count
        if count <= max(Self.smallPartition, 2 * query.limit) {
            plan.isExact = true
            plan.estimate = RecallEstimate(recall: 1)
            return plan
        }
        let key = RecallTargets.Key(field: query.field, limit: query.limit)
        let (found, mustCalibrate) = targets.plan(key, target: target, points: count, codec: fields[query.field].walkedVersion, now: .now)
        if mustCalibrate { calibrate(key) }
        switch found {
        case .unknown: plan.estimate = RecallEstimate(recall: 0, isCalibrated: false)
        case .walk(let choice, let queries):
            plan.effort = choice.effort
            plan.estimate = RecallEstimate(recall: choice.recall, isReachable: choice.isEnough, sampleQueries: queries)
        }
        return plan
    }

    /// Calibrates in the background, a little at a time.
    private func calibrate(_ key: RecallTargets.Key) {
        let field = fields[key.field]
        let (queries, basis) = targets.sample(key.field, points: points.count, codec: field.walkedVersion)
        let share = Double(assignment.range.last - assignment.range.first) / Double(UInt64.max)
        let begin = ContinuousClock.now
        onSamplingThread { [self] scratch in
            let sample = queries.isEmpty ? try standIns(key, scratch: &scratch) : queries
            advance(try CalibrationRun(queries: sample, limit: key.limit, share: share), key, basis, took: begin.duration(to: .now))
        }
    }

    private func advance(_ run: CalibrationRun, _ key: RecallTargets.Key, _ basis: RecallTargets.Basis, took: Duration) {
        onSamplingThread { [self] scratch in
            var run = run
            let begin = ContinuousClock.now
            let calibration = try run.advance(on: fields[key.field].graph, scratch: &scratch)
            let took = took + begin.duration(to: .now)
            if let calibration { return targets.finish(key, calibration, basis, took: took, now: .now) }
            advance(run, key, basis, took: took)
        }
    }

    /// One piece of a calibration, which is given up when it cannot go on.
    private func onSamplingThread(_ body: @escaping @Sendable (inout SearchScratch) throws -> Void) {
        do {
            try resources.samplingPool.submit { [self] scratch in
                do {
                    if isClosing { throw NeedletailError(.unavailable, "the replica is closing") }
                    try body(&scratch)
                } catch {
                    targets.abandon()
                }
            }
        } catch {
            targets.abandon()
        }
    }

    /// Points that stand in for queries while there are few, moved away from where they are stored: a stored point is found by its own
    /// links, which no query has. They go as far as their nearest neighbours are, which is where another point of the same kind could lie.
    private func standIns(_ key: RecallTargets.Key, scratch: inout SearchScratch) throws -> [DenseVector] {
        let graph = fields[key.field].graph
        var random = SplitMix(state: UInt64(key.limit))
        var queries: [DenseVector] = []
        let bound = UInt64(points.slab.slotCount)
        // Slots may be free, retired or without a vector in this field.
        for _ in 0..<8 * RecallTargets.fewestQueries where queries.count < RecallTargets.fewestQueries {
            let slot = UInt32(truncatingIfNeeded: random.next(below: bound))
            guard graph.live[Int(slot)], let vector = graph.vector(slot: slot) else { continue }
            let near = try graph.search(vector, limit: 8, ef: 32, deadline: nil, scratch: &scratch).nearest.prefix(8)
            guard let other = near.last(where: { $0.slot != slot }), let neighbour = graph.vector(slot: other.slot) else { continue }
            queries.append(vector.moved(asFarAs: neighbour, graph: graph, random: &random))
        }
        return queries
    }

    /// Asks the query again exactly in the background, when it is time for a sample, and compares.
    func sample(_ query: SearchQuery, found: [ScoredPoint]) {
        targets.note(query)
        guard resources.configuration.samplesRecall, sampler.claim(query) else { return }
        do throws(NeedletailError) {
            try resources.samplingPool.submit { [self] scratch in
                var exact = query
                exact.exact = true
                let begin = ContinuousClock.now
                guard let truth = try? search(exact, deadline: nil, scratch: &scratch) else { return sampler.abandon() }
                sampler.finish(
                    found: found.map(\.id), truth: truth.points, metric: fields[query.field].graph.field.metric, took: begin.duration(to: .now))
            }
        } catch {
            sampler.abandon()
        }
    }
}
