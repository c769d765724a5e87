import NeedletailCore
import NeedletailIndex
import NeedletailTestSupport
import Testing

/// Searches among admitted slots.
@Suite struct FilterTests {
    static let selectivities = [1.0, 0.5, 0.1, 0.01, 0.001]
    /// So many that chance moves recall by less than a point: the mean is what is promised.
    private static let queries = 100
    private static let index: (TestIndex, [[Float]])? = {
        var generator = SeededGenerator(seed: 11)
        let vectors = (0..<20_000).map { _ in generator.gaussians(24) }
        guard let index = try? TestIndex(field: VectorField(name: "v", dimensions: 24, metric: .l2), vectors: vectors) else { return nil }
        return (index, vectors)
    }()

    @Test(arguments: selectivities)
    func findsTheNearestOfTheAdmitted(selectivity: Double) throws {
        var generator = SeededGenerator.fresh()
        let (index, vectors) = try #require(Self.index)
        var hits = 0
        var wanted = 0
        for _ in 0..<Self.queries {
            let slots = (0..<vectors.count).filter { _ in Double.random(in: 0..<1, using: &generator) < selectivity }
            let (found, truth) = try search(index, vectors, admitted: slots, query: generator.gaussians(24))
            hits += found.count { truth.contains($0) }
            wanted += truth.count
        }
        #expect(Double(hits) >= 0.95 * Double(wanted), "\(hits) of \(wanted)")
    }

    /// All that is admitted lies on the far side of everything, or in one corner.
    @Test func findsWhatLiesFarFromTheQuery() throws {
        var generator = SeededGenerator.fresh()
        let (index, vectors) = try #require(Self.index)
        var hits = [0, 0, 0]
        for _ in 0..<Self.queries / 4 {
            let query = generator.gaussians(24)
            let order = vectors.indices.sorted { BruteForce.distance(.l2, query, vectors[$0]) > BruteForce.distance(.l2, query, vectors[$1]) }
            for (which, part) in [0.3, 0.05, 0.002].enumerated() {
                let (found, truth) = try search(index, vectors, admitted: Array(order.prefix(Int(part * 20_000))), query: query)
                #expect(found.count == 10)
                hits[which] += found.count { truth.contains($0) }
            }
        }
        #expect(hits.allSatisfy { Double($0) >= 9.5 * Double(Self.queries / 4) }, "\(hits) of \(10 * Self.queries / 4) each")
    }

    /// None of the nearest tenth is admitted, so that the nearest admitted lie all around the query.
    @Test func findsWhatLiesAllAroundAtADistance() throws {
        var generator = SeededGenerator.fresh()
        let (index, vectors) = try #require(Self.index)
        var hits = 0
        for _ in 0..<Self.queries {
            let query = generator.gaussians(24)
            let order = vectors.indices.sorted { BruteForce.distance(.l2, query, vectors[$0]) < BruteForce.distance(.l2, query, vectors[$1]) }
            let admitted = Array(order.dropFirst(2_000).shuffled(using: &generator).prefix(10_000))
            let (found, truth) = try search(index, vectors, admitted: admitted, query: query)
            hits += found.count { truth.contains($0) }
        }
        #expect(Double(hits) >= 9.5 * Double(Self.queries), "\(hits) of \(10 * Self.queries)")
    }

    @Test func answersNothingForAnEmptyFilterAndNoRetiredSlot() throws {
        var generator = SeededGenerator.fresh()
        let vectors = (0..<3_000).map { _ in generator.gaussians(8) }
        let index = try TestIndex(field: VectorField(name: "v", dimensions: 8, metric: .cosine), vectors: vectors)
        #expect(try search(index, vectors, admitted: [], query: vectors[0]).found.isEmpty)
        let admitted = Array(stride(from: 0, to: 3_000, by: 3))
        for slot in admitted.prefix(900) { index.graph.retire(slot: UInt32(slot)) }
        let left = Set(admitted.dropFirst(900).map { UInt32($0) })
        let found = try search(index, vectors, admitted: admitted, query: vectors[1]).found
        #expect(found.count == 10 && found.allSatisfy(left.contains))
    }

    private func search(
        _ index: TestIndex, _ vectors: [[Float]], admitted: [Int], query: [Float]
    ) throws -> (found: [UInt32], truth: Set<UInt32>) {
        let bits = SlotBits(capacity: vectors.count)
        for slot in admitted { bits.set(slot) }
        var scratch = SearchScratch()
        let found = try index.graph.search(
            DenseVector(query), limit: 10, ef: 64, filter: SlotFilter(bits: bits, count: admitted.count), deadline: nil, scratch: &scratch
        ).nearest.prefix(10).map(\.slot)
        for slot in found { #expect(bits[Int(slot)], "slot \(slot) is not admitted") }
        let truth = admitted.map { (UInt32($0), BruteForce.distance(.l2, query, vectors[$0])) }.sorted { $0.1 < $1.1 }.prefix(10)
        return (Array(found), Set(truth.map(\.0)))
    }
}
