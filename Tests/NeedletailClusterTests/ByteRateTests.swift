import NeedletailCluster
import NeedletailTestSupport
import Testing

@Test func bytesAreSpreadOverTime() {
    var random = SeededGenerator.fresh()
    var rate = ByteRate(bytesPerSecond: 1_000_000)
    // Whoever comes, at whatever moments: in no stretch of time go more than are allowed in it, a moment's worth and what went last.
    var (now, sent): (Duration, [(at: Duration, bytes: Int)]) = (.seconds(7), [])
    for _ in 0..<500 {
        let bytes = Int(1 + random.next() % 60_000)
        sent.append((now + rate.take(bytes, now: now), bytes))
        now += .milliseconds(Int(random.next() % (random.next() % 10 == 0 ? 900 : 20)))
    }
    for (index, first) in sent.enumerated() {
        var total = 0
        for next in sent[index...] {
            let allowed = (next.at - first.at + .milliseconds(101)) / .seconds(1) * 1_000_000
            #expect(Double(total) <= allowed && next.at >= first.at)
            total += next.bytes
        }
    }
    // Nobody waits who needs not.
    var free = ByteRate(bytesPerSecond: 0)
    #expect((0..<10).allSatisfy { _ in free.take(1 << 40, now: .zero) == .zero })
    var slow = ByteRate(bytesPerSecond: 100)
    #expect(slow.take(1000, now: .seconds(1)) == .zero && slow.take(1, now: .seconds(20)) == .zero)
}
