import NeedletailCore
import NeedletailTestSupport
import Testing

@Suite struct CollectionTests {
    @Test(arguments: [1, 2, 3, 7, 8, 256]) func rangesTileTheHashSpace(count: Int) {
        let ranges = HashRange.dividing(into: count)
        #expect(ranges.count == count)
        #expect(ranges.first?.first == 0 && ranges.last?.last == .max)
        for (left, right) in zip(ranges, ranges.dropFirst()) { #expect(left.last + 1 == right.first) }
        let sizes = ranges.map { $0.last - $0.first }
        #expect(sizes.max()! - sizes.min()! <= 1)
    }

    @Test func placementSpreadsConsecutiveIds() {
        let ranges = HashRange.dividing(into: 8)
        var counts = [Int](repeating: 0, count: 8)
        for id in 0..<80_000 as Range<UInt64> {
            let hash = PointID.number(id).placementHash
            counts[ranges.firstIndex { $0.contains(hash) }!] += 1
        }
        for count in counts { #expect((9_500...10_500).contains(count)) }
    }

    /// The hash decides where points lie on disk: it is frozen.
    @Test func placementHashNeverChanges() {
        #expect(PointID.number(0).placementHash == 0xe220_a839_7b1d_cdaf)
        #expect(PointID.number(1).placementHash == 0x910a_2dec_8902_5cc1)
    }

    @Test func idsRoundTripThroughTextAndKeys() {
        var generator = SeededGenerator.fresh()
        var ids: [PointID] = [.number(0), .number(.max), .uuid(high: 0, low: 0), .uuid(high: .max, low: .max)]
        for _ in 0..<500 {
            ids.append(.number(generator.next()))
            ids.append(.uuid(high: generator.next(), low: generator.next()))
        }
        for id in ids {
            #expect(PointID(id.description) == id)
            #expect(PointID(orderedKey: id.orderedKey) == id)
        }
        #expect(ids.sorted() == ids.sorted { $0.orderedKey.lexicographicallyPrecedes($1.orderedKey) })
    }

    @Test func specsSayWhatIsWrong() {
        let field = VectorField(name: "v", dimensions: 4, metric: .l2)
        for (spec, word) in [
            (CollectionSpec(name: "", fields: [field]), "name"), (CollectionSpec(name: "a/b", fields: [field]), "name"),
            (CollectionSpec(name: "a", fields: []), "fields"), (CollectionSpec(name: "a", fields: [field, field]), "same name"),
            (CollectionSpec(name: "a", fields: [field], shardCount: 0), "shard_count"),
            (CollectionSpec(name: "a", fields: [VectorField(name: "v", dimensions: 0, metric: .l2)]), "dimensions"),
            (CollectionSpec(name: "a", fields: [VectorField(name: "v", dimensions: 4, metric: .hamming)]), "hamming"),
        ] {
            #expect(performing: { try spec.validate() }, throws: { ($0 as? NeedletailError)?.message.contains(word) == true })
        }
    }
}
