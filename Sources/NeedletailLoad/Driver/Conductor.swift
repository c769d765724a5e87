import Foundation
import NeedletailClient
import NeedletailGRPC
import Synchronization

/// Runs a scenario: starts the cluster if there is to be one, has the load processes prepare, load and send, does the faults, and joins
/// what was measured.
public actor Conductor {
    public enum Progress: Sendable {
        case says(String)
        /// A segment goes on: how it stands, as of now.
        case measured(phase: PhaseResult, segment: SegmentResult, elapsed: Double)
        case fault(FaultMark)
        case ended(PhaseResult)
    }

    private let scenario: Scenario
    private var result: LoadResult
    private let agents: [any LoadAgent]
    private let progress: @Sendable (Progress) -> Void
    private var local: LocalTarget?
    private var cluster: NeedletailCluster?
    private var begin: ContinuousClock.Instant?
    private var phase: PhaseResult?
    private var segment: SegmentResult?
    private var segmentBegin = ContinuousClock.now
    private var dimensions = 0
    private var hasAnswer = false
    private var problem: String?
    /// With nothing but errors from the start it gives up.
    private static let patience = 5.0

    init(_ scenario: Scenario, text: String, agents: [any LoadAgent], progress: @escaping @Sendable (Progress) -> Void) {
        self.scenario = scenario
        self.agents = agents
        self.progress = progress
        let target =
            switch scenario.target {
            case .endpoints(let endpoints): endpoints.joined(separator: ", ")
            case .local(let workers, _, _): "1 coordinator and \(workers) shard workers on the machine of the load"
            }
        result = LoadResult(
            scenario: scenario, scenarioText: text, startedAt: Date.now.formatted(.iso8601), machine: Machine.description,
            version: NeedletailVersion.current,
            target: target, processes: agents.count)
    }

    /// - Returns: what was measured, also when it was stopped or failed in the middle; then `interruption` says why.
    /// - Throws: when it failed before anything was measured.
    public func run() async throws -> LoadResult {
        let outcome: (any Error)?
        do {
            try await perform()
            outcome = nil
        } catch {
            outcome = error
        }
        await end()
        finishSegment()
        finishPhase()
        result.interruption = problem ?? outcome.map { Requests.message($0) }
        guard let outcome, result.phases.allSatisfy({ $0.segments.allSatisfy(\.slices.isEmpty) }) else { return result }
        if let problem { throw NeedletailError(.cancelled, problem + " before anything was measured") }
        throw outcome
    }

    /// Ends the run soon.
    public func stop(because reason: String) async {
        guard problem == nil else { return }
        problem = reason
        for agent in agents { await agent.stop() }
    }

    private func checkStopped() throws { if let problem { throw NeedletailError(.cancelled, problem) } }

    private func say(_ text: String) { progress(.says(text)) }

    // MARK: Before and after

    private func perform() async throws {
        let endpoints = try await startTarget()
        try checkStopped()
        try await prepareAgents(endpoints)
        try checkStopped()
        if scenario.collection.create { try await createCollections() }
        if scenario.collection.load, !scenario.hasBulkPhase {
            say("loading …")
            try await runAgents(SegmentOrder(work: .bulk, phase: 0, rate: 0, seconds: 0, seed: scenario.seed)) { _ in }
            try checkStopped()
            try await settle()
        }
        begin = .now
        for number in scenario.phases.indices {
            try checkStopped()
            try await run(number)
        }
    }

    private static func connect(_ endpoint: String) throws -> NeedletailCluster {
        var configuration = GRPCClientConfiguration()
        try configuration.authorize()
        return try NeedletailCluster.connect(endpoint, configuration: configuration)
    }

    private func startTarget() async throws -> [String] {
        if case .endpoints(let endpoints) = scenario.target {
            let cluster = try Self.connect(endpoints[0])
            self.cluster = cluster
            if scenario.collection.create { _ = try await status(cluster, endpoints[0]) }
            return endpoints
        }
        guard case .local(let workers, let workerFlags, let coordinatorFlags) = scenario.target else { return [] }
        say("starting 1 coordinator and \(workers) shard workers …")
        let local = try LocalTarget(workers: workers, workerFlags: workerFlags, coordinatorFlags: coordinatorFlags)
        self.local = local
        let endpoint = await local.endpoint
        let cluster = try Self.connect(endpoint)
        self.cluster = cluster
        let deadline = Deadline.after(.seconds(20))
        while try await status(cluster, endpoint).nodesAlive < workers {
            try checkStopped()
            guard !deadline.isPast else { throw NeedletailError(.unavailable, "the shard workers did not register within 20 s") }
            try await Task.sleep(for: .milliseconds(20))
        }
        return [endpoint]
    }

    private func status(_ cluster: NeedletailCluster, _ endpoint: String) async throws -> ClusterStatus {
        do {
            return try await cluster.operations.clusterStatus(deadline: .after(.seconds(5)))
        } catch {
            throw NeedletailError(.unavailable, "the target \(endpoint) does not answer: \(Requests.message(error))", cause: error)
        }
    }

    private func prepareAgents(_ endpoints: [String]) async throws {
        say("preparing vectors\(scenario.data.truth ? " and exact answers" : "") …")
        let orders = agents.indices.map {
            PrepareOrder(scenario: scenario, endpoints: endpoints, process: $0, processes: agents.count)
        }
        let prepared = try await withThrowingTaskGroup(of: Prepared.self) { group in
            for (agent, order) in zip(agents, orders) { group.addTask { try await agent.prepare(order) } }
            var all: [Prepared] = []
            for try await one in group { all.append(one) }
            return all
        }
        guard let first = prepared.first, prepared.allSatisfy({ $0 == first }) else {
            throw NeedletailError(
                .failedPrecondition,
                "the load processes have different vectors or versions: \(prepared.map(\.set).joined(separator: ", "))")
        }
        dimensions = first.dimensions
        let spare = first.spare > 0 ? " and \(Text.count(first.spare)) held back" : ""
        result.set =
            "\(first.set): \(Text.count(first.points)) points\(spare) of \(first.dimensions) dimensions, \(Text.count(first.queries)) queries"
        say(result.set)
    }

    private func end() async {
        for agent in agents { await agent.close() }
        await cluster?.close()
        await local?.stop()
    }

    // MARK: The collections

    private func createCollections() async throws {
        guard let operations = cluster?.operations else { return }
        let plan = scenario.collection
        let metric: Metric = ["cosine": .cosine, "dot": .dot][scenario.data.metric] ?? .l2
        for name in plan.names {
            if plan.replace { _ = try await operations.deleteCollection(name, ignoreMissing: true, deadline: .after(.seconds(30))) }
            let field = VectorField(name: "v", dimensions: dimensions, metric: metric, index: try IndexSpec(text: plan.index))
            let spec = CollectionSpec(name: name, fields: [field], shardCount: plan.shards, replicationFactor: plan.replicas)
            do {
                _ = try await operations.createCollection(spec, deadline: .after(.seconds(30)))
            } catch let error as NeedletailError where error.code == .alreadyExists {
                throw NeedletailError(
                    .alreadyExists,
                    "collection \(name) is there already: name another one (collection.name), "
                        + "let it be deleted (collection.replace: true), or use it as it is (create: false, load: false)"
                )
            } catch {
                throw NeedletailError(.unavailable, "the collection cannot be made: \(Requests.message(error))", cause: error)
            }
        }
    }

    /// Waits until every replica is in sync, codes are made, and things have calmed down.
    private func settle() async throws {
        guard let operations = cluster?.operations, scenario.collection.create else { return }
        say("waiting for replicas to be in sync …")
        let deadline = Deadline.after(.seconds(600))
        for name in scenario.collection.names {
            while true {
                try checkStopped()
                let shards = try await operations.shards(of: name, deadline: .after(.seconds(10)))
                let codecs = try await operations.collection(name, deadline: .after(.seconds(10)))
                let isInSync = shards.allSatisfy {
                    $0.replicas.count == scenario.collection.replicas && $0.replicas.allSatisfy(\.isInSync)
                }
                let isCoded = codecs.spec.fields.indices.allSatisfy { field in
                    !codecs.spec.fields[field].index.needsTraining
                        || codecs.codecs.indices.contains(field) && codecs.codecs[field].version > 0 && codecs.codecs[field].isDone
                }
                if isInSync, isCoded { break }
                guard !deadline.isPast else {
                    throw NeedletailError(
                        .deadlineExceeded, "collection \(name) did not settle within 600 s; see `needletail status`")
                }
                try await Task.sleep(for: .milliseconds(50))
            }
        }
        try await Task.sleep(for: .seconds(scenario.collection.settle))
    }

    // MARK: Phases

    private func run(_ number: Int) async throws {
        let plan = scenario.phases[number]
        phase = PhaseResult(name: plan.name, phase: number)
        async let faults: Void = perform(plan.faults, since: .now)
        if let find = plan.find {
            try await look(find, number)
        } else {
            let work: SegmentOrder.Work = plan.bulk == nil ? .requests : .bulk
            let seconds = plan.bulk == nil ? plan.seconds : 0
            try await measure(SegmentOrder(work: work, phase: number, rate: plan.rate, seconds: seconds, seed: seed(number, 0)))
            if plan.bulk != nil { try await settle() }
            // What has begun, a restart for example, comes to its end; when the run is to stop it is cancelled instead.
            if problem == nil, plan.bulk == nil { await faults }
        }
        finishPhase()
    }

    private func seed(_ phase: Int, _ step: Int) -> UInt64 { scenario.seed &* 1_000_003 &+ UInt64(phase * 1000 + step) }

    private func look(_ find: Scenario.Find, _ number: Int) async throws {
        var search = RateSearch(from: find.from, to: find.to, precision: find.precision, confirms: find.confirm > 0, tries: find.tries)
        var count = 0
        while true {
            let (rate, seconds): (Double, Double)
            switch search.step {
            case .probe(let next): (rate, seconds) = (next, find.step)
            case .confirm(let next): (rate, seconds) = (next, max(find.confirm, find.step))
            case .done(let best):
                phase?.found = best
                return
            }
            count += 1
            try await measure(SegmentOrder(work: .requests, phase: number, rate: rate, seconds: seconds, seed: seed(number, count)))
            try checkStopped()
            guard let last = phase?.segments.indices.last else { return }
            let miss = Objective.miss(find, phase?.segments[last].slices ?? [])
            phase?.segments[last].isMet = miss == nil
            phase?.segments[last].miss = miss ?? ""
            say("\(Text.rate(rate)) requests a second: \(miss ?? "met")")
            search.record(met: miss == nil)
        }
    }

    private func measure(_ order: SegmentOrder) async throws {
        let plan = scenario.phases[order.phase]
        let isOpen = order.work == .requests && plan.arrivals != .closed
        segmentBegin = .now
        let offset = begin.map { Self.seconds($0.duration(to: segmentBegin)) } ?? 0
        segment = SegmentResult(rate: isOpen ? order.rate : nil, seconds: order.seconds, offset: offset)
        try await runAgents(order) { [weak self] in await self?.receive($0) }
        finishSegment()
    }

    private func runAgents(_ order: SegmentOrder, receive: @escaping @Sendable ([Slice]) async -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for agent in agents { group.addTask { try await agent.run(order, receive: receive) } }
            do {
                // Not `waitForAll`, which waits for the others when one has failed.
                for try await _ in group {}
            } catch {
                // The others end in order, and what they measured still comes.
                for agent in agents { await agent.stop() }
                try? await group.waitForAll()
                throw error
            }
        }
    }

    private func receive(_ slices: [Slice]) async {
        guard var segment else { return }
        Slice.join(&segment.slices, slices)
        self.segment = segment
        let elapsed = Self.seconds(segmentBegin.duration(to: .now))
        if let phase { progress(.measured(phase: phase, segment: segment, elapsed: elapsed)) }
        if !hasAnswer {
            let total = segment.slices.total()
            hasAnswer = total.answered > 0
            if !hasAnswer, elapsed > Self.patience, total.failures > 0 {
                let said = segment.slices.lazy.flatMap(\.messages).first.map { "\($0.key): \($0.value)" } ?? ""
                await stop(
                    because:
                        "nothing but errors for \(Int(Self.patience)) s, \(Text.count(total.failures)) of them; given up (\(said))")
            }
        }
    }

    private func finishSegment() {
        guard var segment else { return }
        if segment.seconds == 0 || problem != nil {
            segment.seconds = min(segment.seconds == 0 ? .infinity : segment.seconds, Self.seconds(segmentBegin.duration(to: .now)))
        }
        phase?.segments.append(segment)
        self.segment = nil
    }

    private func finishPhase() {
        guard let phase else { return }
        result.phases.append(phase)
        self.phase = nil
        progress(.ended(phase))
    }

    // MARK: Faults

    private func perform(_ faults: [Fault], since start: ContinuousClock.Instant) async {
        guard !faults.isEmpty, let operations = cluster?.operations else { return }
        let runner = FaultRunner(local: local, operations: operations, collection: scenario.collection.names[0])
        await withTaskGroup(of: Void.self) { group in
            for fault in faults {
                group.addTask {
                    guard (try? await Task.sleep(until: start.advanced(by: .seconds(fault.at)), clock: .continuous)) != nil else {
                        return
                    }
                    await self.perform(fault, runner)
                }
            }
        }
    }

    private func perform(_ fault: Fault, _ runner: FaultRunner) async {
        let now = ContinuousClock.now
        var mark = FaultMark(name: fault.name, at: begin.map { Self.seconds($0.duration(to: now)) } ?? 0)
        // Known at once, so that it can be seen beside what it does; completed when it is over.
        let place = phase?.marks.count ?? 0
        phase?.marks.append(mark)
        progress(.fault(mark))
        do {
            try await runner.perform(fault.deed)
        } catch {
            mark.problem = Requests.message(error)
            say("\(fault.name): \(Requests.message(error))")
        }
        mark.took = Self.seconds(now.duration(to: .now))
        if phase?.marks.indices.contains(place) ?? false { phase?.marks[place] = mark }
    }

    private static func seconds(_ duration: Duration) -> Double { Double(duration.nanoseconds) / 1e9 }
}
