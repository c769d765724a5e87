import NeedletailCore
import NeedletailTestSupport
import NeedletailVectors
import Testing

/// The sets have the shapes that figures are quoted for.
@Suite struct SyntheticSetsTests {
    @Test func aSeedGivesTheSameRowsAgain() {
        #expect(SyntheticSets.tight(count: 50).base == SyntheticSets.tight(count: 50).base)
        #expect(SyntheticSets.tight(count: 50).base != SyntheticSets.tight(count: 50, seed: 9).base)
        #expect(SyntheticSets.nested(count: 50).queries == SyntheticSets.nested(count: 50).queries)
        #expect(SyntheticSets.powerLaw(count: 50).shiftedQueries == SyntheticSets.powerLaw(count: 50).shiftedQueries)
        #expect(SyntheticSets.tokens().documents == SyntheticSets.tokens().documents)
    }

    @Test func rowsAreUnitVectors() {
        let (tight, power) = (SyntheticSets.tight(count: 300), SyntheticSets.powerLaw(count: 300))
        let tokens = SyntheticSets.tokens()
        let sets = [
            tight.base, tight.queries, SyntheticSets.nested(count: 300).base, power.base, power.queries, power.shiftedQueries ?? power.base,
            SyntheticSets.subspace(rank: 8, count: 300).base, tokens.documents.selecting(0..<300), tokens.queries,
        ]
        for rows in sets {
            for row in rows.vectors { #expect(abs(row.reduce(0) { $0 + $1 * $1 } - 1) < 1e-5) }
        }
    }

    /// T1: rows of a category are near one another, rows of two are not; ordering keeps the pairs of row and category.
    @Test func tightClustersAreTight() {
        let set = SyntheticSets.tight(count: 2_000)
        #expect(set.base.count == 2_000 && set.base.dimensions == 128 && set.queries.count == 200)
        #expect(Set(set.categories).count == 200)
        for (left, right) in zip(0..<1_000, 1_000..<2_000) {
            let cosine = zip(set.base[left], set.base[right]).reduce(0) { $0 + $1.0 * $1.1 }
            #expect(set.categories[left] == set.categories[right] ? cosine > 0.95 : cosine < 0.6)
        }
        let ordered = set.orderedByCategory()
        #expect(ordered.categories == set.categories.sorted())
        let category = Dictionary(zip(set.base.vectors, set.categories)) { first, _ in first }
        #expect(ordered.base.vectors.map { category[$0] } == ordered.categories)
    }

    /// T2: each row ends after 4, 8, … or 128 coordinates, each end as often.
    @Test func nestedRowsEndEarly() {
        let ends = SyntheticSets.nested(count: 6_000).base.vectors.map { ($0.lastIndex { $0 != 0 } ?? -1) + 1 }
        for width in [4, 8, 16, 32, 64, 128] { #expect((850...1_150).contains(ends.count { $0 == width })) }
    }

    /// T5: as many directions as its rank.
    @Test(arguments: [8, 32]) func subspacesHaveTheirRank(rank: Int) throws {
        let set = SyntheticSets.subspace(rank: rank, count: 1_000)
        let held = Array(set.queries.values)
        var accumulator = try CovarianceAccumulator(dimensions: 256)
        try accumulator.add(VectorSample(set.base.values + held, dimensions: 256))
        let values = try SymmetricEigen(accumulator.finish().covariance).values
        #expect(values[rank - 1] > 0.1 * values[0] && values[rank] < 1e-10 * values[0])
    }

    /// T4: a document's tokens share its context, and a query's tokens find their own document.
    @Test func queriesOfTokensPointToTheirDocument() {
        var size = TokenSetSize()
        (size.documents, size.queries) = (300, 40)
        let set = SyntheticSets.tokens(size)
        #expect(set.documents.count == 300 * 32 && set.queries.count == 40 * 16 && Set(set.topics).count > 50)
        let documents = set.documents.vectors
        var found = 0
        for query in 0..<40 {
            let tokens = (0..<16).map { set.queries[query * 16 + $0] }
            let scores = (0..<300).map { document in
                tokens.reduce(Float(0)) { sum, token in
                    sum + (0..<32).reduce(-1) { best, place in
                        var product: Float = 0
                        let other = documents[document * 32 + place]
                        for index in 0..<128 { product += token[index] * other[index] }
                        return max(best, product)
                    }
                }
            }
            if scores.indices.max(by: { scores[$0] < scores[$1] }) == set.sources[query] { found += 1 }
        }
        #expect(found >= 38)
    }
}
