import NeedletailCore
import NeedletailTestSupport
import NeedletailVectors
import Testing

/// The catalogue's figures for projections, on T3, by scans: what is lost is lost by the projection, not by a graph.
@Suite struct TransformRecallTests {
    static let set = SyntheticSets.powerLaw(queries: 1_100)
    static let small = set.base.selecting(0..<10_000)
    static let queries = set.queries.selecting(0..<100)
    static let cosine = VectorPreparation(normalise: true)
    static let sample = try? VectorSample(Array(set.base.values.prefix(10_000 * 768)), dimensions: 768)
    static let pca160 = sample.flatMap { try? TransformFitting.leanVec($0, outputDimensions: 160, preparation: cosine) }

    /// F11: 768 → 160, rescore of 50, 10,000 rows: recall@10 ≥ 0.99.
    @Test func leanVecKeepsTheNearest() throws {
        let transform = try #require(Self.pca160)
        let recall = Self.recall(Self.small, Self.queries, transform, take: 50, by: .l2)
        #expect(recall >= 0.99)
    }

    /// F9: 64 of 768 dimensions in PCA order, rescore of 100: recall@10 ≥ 0.99.
    @Test func aPrefixOfPCAOrderKeepsTheNearest() throws {
        let order = try TransformFitting.pca(try #require(Self.sample), outputDimensions: 768, preparation: Self.cosine)
        let (base, queries) = (Self.map(Self.small, order), Self.map(Self.queries, order))
        let prefix = try TransformFitting.prefix(64, inputDimensions: 768)
        #expect(Self.recall(base, queries, prefix, take: 100, by: .l2) >= 0.99)
        #expect(Self.recall(base, queries, try TransformFitting.prefix(8, inputDimensions: 768), take: 100, by: .l2) < 0.99)
    }

    /// F11: queries unlike the base: at least 5 points over PCA, and nothing lost for queries like the base.
    @Test func queryAwareLeanVecServesShiftedQueries() throws {
        let pca = try #require(Self.pca160)
        let shifted = try #require(Self.set.shiftedQueries)
        let (asked, seen) = (shifted.selecting(0..<100), try VectorSample(shifted.selecting(100..<1_100).values, dimensions: 768))
        let aware = try TransformFitting.leanVecQueryAware(
            base: try #require(Self.sample), queries: seen, outputDimensions: 160, preparation: Self.cosine)
        let before = Self.recall(Self.small, asked, pca, take: 50, by: .product)
        let after = Self.recall(Self.small, asked, aware, take: 50, by: .product)
        #expect(after >= before + 0.05, "PCA \(before), query-aware \(after)")
        #expect(Self.recall(Self.small, Self.queries, aware, take: 50, by: .product) >= 0.99)
    }

    /// What the catalogue says of the set: top 50 at 160 dimensions by inner product, nothing centred: PCA 0.9997, FFT 0.70.
    @Test func theSetHasItsShape() throws {
        let pca = try #require(Self.pca160)
        let plain = try VectorTransform(inputDimensions: 768, map: pca.map)
        #expect(Self.recall(Self.set.base, Self.queries, plain, take: 50, by: .product) >= 0.998)
        let fourier = try TransformFitting.fourier(inputDimensions: 768, outputDimensions: 160)
        let recall = Self.recall(Self.set.base, Self.queries, fourier, take: 50, by: .product)
        #expect((0.65...0.76).contains(recall))
    }
}

extension TransformRecallTests {
    enum Score { case l2, product }

    /// The part of the true 10 nearest among the `take` best by outputs.
    static func recall(_ base: VectorRows, _ queries: VectorRows, _ transform: VectorTransform, take: Int, by score: Score) -> Double {
        let width = transform.outputDimensions
        var scratch = TransformScratch()
        var short = [Float](repeating: 0, count: base.count * width)
        var (ahead, exact) = ([Float](repeating: 0, count: base.count), [Float](repeating: 0, count: base.count))
        base.values.withUnsafeBufferPointer { rows in
            short.withUnsafeMutableBufferPointer { short in
                for row in 0..<base.count {
                    let constants = transform.apply(rows.baseAddress! + row * base.dimensions, scratch: &scratch, to: short.baseAddress! + row * width)
                    // ⟨q, x⟩ is ⟨q − m, x − m⟩ + ⟨x − m, m⟩ and what depends on q alone; the first term is estimated by outputs.
                    exact[row] = -0.5 * base[row].reduce(0) { $0 + $1 * $1 }
                    ahead[row] = score == .product ? Float(constants.meanProduct) : -0.5 * Float(constants.squaredNorm)
                }
            }
        }
        var hits = 0
        for row in 0..<queries.count {
            let query = queries[row]
            let truth = Set(best(10, base.values, exact, query))
            hits += best(take, short, ahead, transform(query)).count { truth.contains($0) }
        }
        return Double(hits) / Double(10 * queries.count)
    }

    static func map(_ rows: VectorRows, _ transform: VectorTransform) -> VectorRows {
        var mapped = VectorRows(dimensions: transform.outputDimensions, capacity: rows.count)
        for row in 0..<rows.count { mapped.append(transform(rows[row])) }
        return mapped
    }

    /// The `limit` rows of largest ⟨query, row⟩ + ahead.
    private static func best(_ limit: Int, _ rows: [Float], _ ahead: [Float], _ query: [Float]) -> [Int] {
        var scores = ahead
        rows.withUnsafeBufferPointer { rows in
            query.withUnsafeBufferPointer { query in
                for row in scores.indices {
                    var sums = SIMD16<Float>()
                    let start = UnsafeRawPointer(rows.baseAddress! + row * query.count)
                    for index in stride(from: 0, to: query.count, by: 16) {
                        sums += start.loadUnaligned(fromByteOffset: index * 4, as: SIMD16<Float>.self)
                            * UnsafeRawPointer(query.baseAddress!).loadUnaligned(fromByteOffset: index * 4, as: SIMD16<Float>.self)
                    }
                    scores[row] += sums.sum()
                }
            }
        }
        let cut = scores.sorted(by: >)[limit - 1]
        return Array(scores.indices.filter { scores[$0] >= cut }.prefix(limit))
    }
}
