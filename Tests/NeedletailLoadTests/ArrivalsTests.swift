import NeedletailLoad
import Testing

@Suite struct ArrivalsTests {
    @Test func constantArrivalsAreAtEqualDistances() {
        #expect(Array(Arrivals(.constant, rate: 4, seed: 1).prefix(4)) == [0, 0.25, 0.5, 0.75])
    }
}
