import NeedletailCluster
import NeedletailCore
import Testing

/// What the simulation's nodes never say; the rest of the machine is tested there.
@Suite struct FailoverMachineTests {
    private let shard = ShardID(incarnation: Incarnation(1), number: 0)
    private let first = NodeID(1)
    private let second = NodeID(2)

    /// A leader of a shard whose primary and backup are silent until their leases are over.
    private func leader() -> FailoverMachine {
        var machine = FailoverMachine(lease: .seconds(2), retry: .milliseconds(200))
        let place = ShardPlace(
            number: 0, range: HashRange.dividing(into: 1)[0], primary: first, epoch: 1, replicas: [first, second])
        for event in [FailoverMachine.Event.elected(term: 3), .place(shard, place), .loaded(term: 3), .renewed(until: .seconds(100))] {
            _ = machine.receive(event, now: .zero)
        }
        _ = machine.receive(.tick, now: .seconds(3))
        return machine
    }

    /// Both nodes live again; they answer fences as they are told to. The changes that the leader then wants to make.
    private func swaps(_ machine: FailoverMachine, answering: (NodeID, Fence) -> FailoverMachine.Event) -> [FailoverMachine.Swap] {
        var machine = machine
        var swaps: [FailoverMachine.Swap] = []
        for round in 0..<20 {
            let now = Duration.seconds(4) + .milliseconds(100 * round)
            var events: [FailoverMachine.Event] = [.heartbeat(first, number: 1), .heartbeat(second, number: 1), .tick]
            while !events.isEmpty {
                for action in machine.receive(events.removeFirst(), now: now) {
                    if case .fence(_, let node, let fence) = action { events.append(answering(node, fence)) }
                    if case .swap(_, let swap) = action { swaps.append(swap) }
                }
            }
        }
        return swaps
    }

    private func answer(_ node: NodeID, _ fence: Fence) -> FailoverMachine.Event {
        .fenced(shard, FenceAnswer(fence: fence, node: node, lastEpoch: 1, end: 7))
    }

    /// Nodes are back before their replicas are: those of a collection that is being restored come later than its places do.
    @Test func nodesThatCouldNotAnswerAreAskedAgainWhenNobodyElseCan() throws {
        var asked: [NodeID: Int] = [:]
        let swaps = swaps(leader()) { node, fence in
            asked[node, default: 0] += 1
            return asked[node] == 1 ? .unable(shard, node, fence) : answer(node, fence)
        }
        let swap = try #require(swaps.first)
        #expect(swap.place.epoch == 2 && swap.place.inSync == [first, second])
    }

    /// Otherwise a shard would wait for a broken disk.
    @Test func aNodeThatCannotAnswerDoesNotKeepTheOthersFromLeading() throws {
        let swaps = swaps(leader()) { node, fence in node == first ? .unable(shard, node, fence) : answer(node, fence) }
        #expect(try #require(swaps.first).place.primary == second)
    }
}
