import NeedletailCore
import Testing
@testable import NeedletailCluster

@Suite struct WorkRateTests {
    private let start = ContinuousClock.now

    private func after(_ seconds: Double) -> ContinuousClock.Instant { start + .milliseconds(Int(seconds * 1000)) }

    @Test func steadyWorkIsItsRate() {
        var rate = WorkRate(window: .seconds(10), now: start)
        for second in 1...60 {
            rate.add(.milliseconds(500), now: after(Double(second)))
            #expect(rate.isSettled(now: after(Double(second))) == (second >= 10))
            if second >= 20 { #expect(abs(rate.threads(now: after(Double(second))) - 0.5) < 0.06) }
        }
    }

    @Test func theFirstWindowAveragesOverWhatItHas() {
        var rate = WorkRate(window: .seconds(10), now: start)
        rate.add(.seconds(1), now: after(2))
        #expect(abs(rate.threads(now: after(2)) - 0.5) < 1e-9)
        #expect(abs(rate.threads(now: after(4)) - 0.25) < 1e-9)
    }

    @Test func oldWorkIsForgotten() {
        var rate = WorkRate(window: .seconds(10), now: start)
        rate.add(.seconds(8), now: after(5))
        #expect(abs(rate.threads(now: after(15)) - 0.4) < 1e-9)
        #expect(rate.threads(now: after(25)) == 0)
        rate.add(.seconds(1), now: after(95))
        #expect(abs(rate.threads(now: after(95)) - 0.1) < 1e-9)
    }

    /// What replicas did together, whoever has them, and not what was done before anybody listened.
    @Test func membershipAddsUpWhatReplicasSay() {
        let shard = ShardID(incarnation: Incarnation(1), number: 0)
        var membership = Membership(lease: .seconds(5), workWindow: .seconds(10))
        func beat(_ node: UInt64, _ seconds: Double, _ work: Double?) {
            let status = ReplicaStatus(shard: shard, state: .ready, workNanoseconds: UInt64((work ?? 0) * 1e9))
            _ = membership.heartbeat(
                from: NodeID(node), address: "host:\(node)", status: NodeStatus(replicas: work == nil ? [] : [status]), isDraining: false, now: after(seconds))
        }
        beat(1, 0, 1_000)
        for second in 1...20 { beat(1, Double(second), 1_000 + Double(second) * 0.4) }
        #expect(membership.work(of: shard, now: after(9)) == nil || abs((membership.work(of: shard, now: after(20)) ?? 0) - 0.4) < 0.05)
        #expect(abs(membership.work(on: NodeID(1), now: after(20)) - 0.4) < 0.05)
        // It moves to another node, where it counts from nothing; and that process is started again.
        beat(1, 20.5, nil)
        beat(2, 20.5, 0)
        for second in 21...40 { beat(2, Double(second), Double(second - 20) * 0.4) }
        beat(2, 41, 0.4)
        #expect(abs((membership.work(of: shard, now: after(41)) ?? 0) - 0.4) < 0.05)
        #expect(membership.work(on: NodeID(1), now: after(41)) == 0)
        #expect(membership.work(of: ShardID(incarnation: Incarnation(2), number: 0), now: after(41)) == nil)
    }
}
