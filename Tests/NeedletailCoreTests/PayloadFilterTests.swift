import NeedletailCore
import Testing

struct PayloadFilterTests {
    @Test func admitsWhatHasOneOfTheValuesUnderEveryKey() throws {
        let filter = try PayloadFilter([
            .init(key: "tenant", values: [.string("a"), .string("b")]), .init(key: "level", values: [.integer(1)]), .init(key: "open", values: [.bool(true)]),
        ])
        let good: Payload = ["tenant": .string("a"), "level": .integer(1), "open": .bool(true), "more": .list([])]
        #expect(filter.matches(good))
        let others: [(PayloadKey, PayloadValue?)] = [
            ("tenant", nil), ("tenant", .null), ("tenant", .string("A")), ("tenant", .string("")), ("tenant", .list([.string("a")])),
            ("tenant", .map(["a": .string("a")])), ("level", .double(1)), ("level", .string("1")), ("level", .bool(true)), ("open", .integer(1)),
            ("open", .bool(false)), ("open", .string("true")),
        ]
        for (key, value) in others {
            var payload = good
            payload[key] = value
            #expect(!filter.matches(payload), "\(key) \(String(describing: value))")
            #expect(try !filter.matches(encoded: PayloadCoding.encode(payload)))
        }
        #expect(try filter.matches(encoded: PayloadCoding.encode(good)))
        #expect(try !filter.matches(encoded: []))
    }

    @Test func textsAreTheSameWhenTheirBytesAre() throws {
        let (one, other) = ("caf\u{e9}", "cafe\u{301}")
        let filters = try [one, other].map { try PayloadFilter([.init(key: "tenant", values: [.string($0)])]) }
        #expect(filters[0] != filters[1])
        #expect(filters[0].matches(["tenant": .string(one)]) && !filters[0].matches(["tenant": .string(other)]))
        #expect(filters[1].matches(["tenant": .string(other)]) && !filters[1].matches(["tenant": .string(one)]))
    }

    @Test func whatSaysNothingIsRefused() {
        typealias Condition = PayloadFilter.Condition
        let one = Condition(key: "a", values: [.bool(true)])
        let many = Condition(key: "a", values: Array(repeating: .integer(1), count: 1_025))
        for conditions in [[], [Condition(key: "", values: [.bool(true)])], [Condition(key: "a", values: [])], [one, one], [many]] {
            #expect(throws: NeedletailError.self) { try PayloadFilter(conditions) }
        }
        #expect(throws: NeedletailError.self) { try PayloadFilter((0..<17).map { Condition(key: "\($0)", values: [.bool(true)]) }) }
    }

    @Test func comesBackFromItsBytesAndNothingElseDoes() throws {
        let filter = try PayloadFilter([.init(key: "b", values: [.integer(-5), .bool(false)]), .init(key: "a", values: [.string("ключ")])])
        let bytes = filter.encoded
        #expect(try PayloadFilter(encoded: bytes) == filter)
        for count in 0..<bytes.count { #expect(throws: NeedletailError.self) { try PayloadFilter(encoded: Array(bytes.prefix(count))) } }
        for index in bytes.indices {
            var damaged = bytes
            damaged[index] ^= 0xff
            _ = try? PayloadFilter(encoded: damaged)
        }
        #expect(throws: NeedletailError.self) { try PayloadFilter(encoded: bytes + [0]) }
    }
}
