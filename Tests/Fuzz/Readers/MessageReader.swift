import NIOCore
import NeedletailAPI
import NeedletailTestSupport

/// Every message of the public and internal services. The first byte chooses one; the cases are those of the codec tests.
enum MessageReader {
    private static let reflection = ReflectionService(services: ["needletail.v1.Points"])

    /// What a reader accepts it must also be able to write and read again, so `recode` runs for whatever `decode` takes.
    static func read(_ bytes: [UInt8]) {
        guard let first = bytes.first else { return }
        let message = ByteBuffer(bytes: bytes.dropFirst())
        let index = Int(first) % (CodecCase.all.count + 1)
        guard index < CodecCase.all.count else {
            _ = try? reflection.answer(message)
            return
        }
        _ = try? CodecCase.all[index].recode(message)
    }

    static func seeds() -> [[UInt8]] {
        var generator = SeededGenerator(seed: 1)
        var seeds: [[UInt8]] = []
        for (index, codec) in CodecCase.all.enumerated() {
            for _ in 0..<4 {
                guard let message = try? codec.encode(&generator).message, message.readableBytes < 4_000 else { continue }
                seeds.append([UInt8(index)] + message.readableBytesView)
            }
        }
        let reflected = UInt8(CodecCase.all.count)
        return seeds + [[reflected, 0x3a, 0], [reflected, 0x22, 4] + "a.B/".utf8, [reflected, 0x1a, 20] + "needletail.v1.Points".utf8]
    }
}
