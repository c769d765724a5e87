import Logging
import Testing

@testable import NeedletailCoordinator

@Suite struct SlowQueryLogTests {
    @Test func tellsTenASecondAndCountsTheRest() {
        let log = SlowQueryLog(logger: Logger(label: "test"))
        let begin = ContinuousClock.now
        let first = (0..<25).map { log.admit(begin + .milliseconds($0)) }
        #expect(first.prefix(10).allSatisfy { $0 == 0 } && first.dropFirst(10).allSatisfy { $0 == nil })
        #expect(log.admit(begin + .milliseconds(1000)) == 15)
        #expect(log.admit(begin + .milliseconds(1001)) == 0)
    }
}
