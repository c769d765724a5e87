import NeedletailCore
import Testing

@Suite struct NearestNameTests {
    @Test func countsLettersToChange() {
        #expect(NearestName.distance("rate", "rat") == 1 && NearestName.distance("", "abc") == 3)
        #expect(NearestName.distance("kitten", "sitting") == 3 && NearestName.distance("a", "a") == 0)
    }

    @Test func onlyWhatIsNearIsMeant() {
        #expect(NearestName.of("weihgt", among: ["height", "weight", "zone"]) == "weight")
        #expect(NearestName.of("elephant", among: ["weight", "zone"]) == nil && NearestName.of("zone", among: []) == nil)
    }
}
