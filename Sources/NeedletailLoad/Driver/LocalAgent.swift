import NeedletailClient
import Synchronization

/// The load process in this program.
final class LocalAgent: LoadAgent {
    private let prepared = Mutex<PreparedLoad?>(nil)
    private let isStopping = Atomic<Bool>(false)
    private let security: ClientSecurity

    init(security: ClientSecurity) { self.security = security }

    func prepare(_ order: PrepareOrder) async throws -> Prepared {
        let load = try await PreparedLoad(order, security: security)
        prepared.withLock { $0 = load }
        let set = load.set
        return Prepared(
            set: set.name, dimensions: set.dimensions, points: set.points, spare: set.count - set.points, queries: set.queryCount,
            version: NeedletailVersion.current)
    }

    func run(_ order: SegmentOrder, receive: @escaping @Sendable ([Slice]) async -> Void) async throws {
        guard let load = prepared.withLock(\.self), load.scenario.phases.indices.contains(order.phase) else {
            throw NeedletailError(.failedPrecondition, "the load process was not prepared for this; start the run again")
        }
        let recorder = SliceRecorder(kinds: RequestPlan.kinds(load.scenario.collection))
        try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                try await self.send(order, load, recorder)
                return true
            }
            group.addTask {
                while !Task.isCancelled {
                    try? await Task.sleep(for: .seconds(1))
                    await receive(recorder.take())
                }
                return false
            }
            while let isEnd = try await group.next() { if isEnd { group.cancelAll() } }
        }
        await receive(recorder.take())
    }

    func stop() async { isStopping.store(true, ordering: .releasing) }

    func close() async {
        let load = prepared.withLock { $0.take() }
        await load?.clients.close()
    }

    private func send(_ order: SegmentOrder, _ load: PreparedLoad, _ recorder: SliceRecorder) async throws {
        let phase = load.scenario.phases[order.phase]
        let segment = Segment(order: order, phase: phase, load: load, recorder: recorder, begin: load.now) {
            self.isStopping.load(ordering: .acquiring)
        }
        switch (order.work, phase.arrivals) {
        case (.bulk, _): try await segment.bulkLoad()
        case (.requests, .closed): await segment.runClosed()
        case (.requests, _): await segment.runOpen()
        }
    }
}
