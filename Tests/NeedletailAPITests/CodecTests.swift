import NIOCore
import NeedletailAPI
import NeedletailCore
import NeedletailTestSupport
import Testing

@Suite struct CodecTests {
    @Test(arguments: CodecCase.all) func randomValuesComeBack(_ codec: CodecCase) throws {
        var generator = SeededGenerator.fresh(codec.name)
        for _ in 0..<300 {
            let sent = try codec.encode(&generator)
            let back = try codec.recode(sent.message)
            // As one Bool: the values themselves would fill pages of the report.
            let isSame = back.text == sent.text && back.message == sent.message
            try #require(isSame)
        }
    }

    /// Whatever the bytes, decoding answers or throws; what it answers can be encoded again, or is refused.
    @Test(arguments: CodecCase.all) func mutatedBytesNeverTrap(_ codec: CodecCase) throws {
        var generator = SeededGenerator.fresh(codec.name)
        for _ in 0..<1000 {
            var bytes = Array(try codec.encode(&generator).message.readableBytesView)
            mutate(&bytes, &generator)
            do {
                _ = try codec.recode(ByteBuffer(bytes: bytes))
            } catch let error as NeedletailError {
                try #require(error.code != .internal, "\(error)")
            }
        }
    }

    /// The messages of one method as another's: valid protobuf, with other fields than expected.
    @Test func messagesOfOtherMethodsNeverTrap() throws {
        var generator = SeededGenerator.fresh()
        for sender in CodecCase.all {
            let message = try sender.encode(&generator).message
            for receiver in CodecCase.all { try? receiver.decode(message) }
        }
    }

    private func mutate(_ bytes: inout [UInt8], _ generator: inout SeededGenerator) {
        for _ in 0...generator.below(4) {
            let position = generator.below(bytes.count + 1)
            switch generator.below(5) {
            case 0 where position < bytes.count: bytes[position] = UInt8(truncatingIfNeeded: generator.next())
            case 1 where position < bytes.count: bytes[position] ^= 1 << UInt8(generator.below(8))
            case 2: bytes.removeSubrange(position..<min(bytes.count, position + generator.below(5)))
            case 3: bytes.insert(contentsOf: generator.bytes(generator.below(5)), at: position)
            default: bytes.insert(contentsOf: bytes.prefix(generator.below(60)), at: position)
            }
        }
    }
}
