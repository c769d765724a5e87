import NeedletailCore
import NeedletailTestSupport
import Testing

@Suite struct SessionTests {
    private func session(_ generator: inout SeededGenerator) -> Session {
        let shards = (0..<Int.random(in: 0...9, using: &generator)).map { _ in UInt32.random(in: 0...20, using: &generator) }
        let sequences = Dictionary(shards.map { ($0, UInt64.random(in: 0...(.max), using: &generator)) }) { $1 }
        return Session(incarnation: Incarnation(generator.next()), sequences: sequences)
    }

    @Test func sessionsRoundTripAndDamagedOnesAreRefused() throws {
        var generator = SeededGenerator.fresh()
        for _ in 0..<200 {
            let session = session(&generator)
            let bytes = session.encoded
            #expect(try Session(encoded: bytes) == session)
            for length in bytes.indices { #expect(throws: NeedletailError.self) { try Session(encoded: Array(bytes.prefix(length))) } }
            var mutated = bytes
            mutated[Int.random(in: bytes.indices, using: &generator)] ^= 1 << UInt8.random(in: 0...7, using: &generator)
            do { _ = try Session(encoded: mutated) } catch { #expect(error.code == .invalidArgument) }
        }
    }

    @Test func mergingKeepsTheLatestOfOneLifeAndForgetsAnother() {
        var seen = Session(incarnation: Incarnation(1), sequences: [0: 5, 1: 9])
        seen.merge(Session(incarnation: Incarnation(1), sequences: [0: 7, 1: 3, 2: 1]))
        #expect(seen.sequences == [0: 7, 1: 9, 2: 1])
        seen.merge(Session(incarnation: Incarnation(2), sequences: [0: 1]))
        #expect(seen == Session(incarnation: Incarnation(2), sequences: [0: 1]))
    }

    @Test func aConditionIsThatOfTheSameLifeOnly() {
        let read = ReadOptions(session: Session(incarnation: Incarnation(1), sequences: [0: 5]))
        #expect(read.condition(ShardID(incarnation: Incarnation(1), number: 0)) == ReadCondition(sequence: 5))
        #expect(read.condition(ShardID(incarnation: Incarnation(1), number: 1)).isNone)
        #expect(read.condition(ShardID(incarnation: Incarnation(2), number: 0)).isNone)
    }

    @Test func operationNamesHaveSixteenBytes() throws {
        let operation = OperationID(high: 1 << 56 | 2, low: 3)
        #expect(operation.bytes == [1, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3])
        #expect(try OperationID(bytes: operation.bytes) == operation)
        for wrong in [[], [UInt8](repeating: 0, count: 16), [UInt8](repeating: 1, count: 15)] {
            #expect(throws: NeedletailError.self) { try OperationID(bytes: wrong) }
        }
    }
}
