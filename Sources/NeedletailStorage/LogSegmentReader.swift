import NeedletailCore

/// Walks the records of one segment from an offset, reading the file in pieces.
final class LogSegmentReader {
    struct Record {
        let offset: Int
        let sequence: UInt64
        let epoch: UInt64
        let durable: UInt64
        let payload: [UInt8]
    }

    enum Step {
        case record(Record)
        /// The next record ends exactly nowhere: the walk reached `end`.
        case end
        /// The bytes at `offset` are not the record that belongs there.
        case bad(offset: Int, reason: String)
    }

    private static let pieceBytes = 1 << 20

    private let file: File
    private let salt: UInt32
    private let end: Int
    private var expected: UInt64
    /// Where the next record begins in the file.
    private(set) var offset: Int
    /// A piece of the file: `buffer[start..<filled]` are the bytes from `offset` on.
    private var buffer: [UInt8] = []
    private var start = 0
    private var filled = 0

    /// `end` is the file offset to stop at; the record at `offset` must have sequence `sequence`.
    init(file: File, salt: UInt32, offset: Int, sequence: UInt64, end: Int) {
        self.file = file
        self.salt = salt
        self.offset = offset
        self.expected = sequence
        self.end = end
    }

    func next() throws -> Step {
        let left = end - offset
        if left == 0 { return .end }
        guard left >= LogFormat.recordHeaderBytes else { return .bad(offset: offset, reason: "a record header is cut off") }
        try fill(LogFormat.recordHeaderBytes)
        guard let header = view({ LogFormat.RecordHeader($0) }) else {
            return .bad(offset: offset, reason: "the file became shorter")
        }
        guard header.recordBytes <= left else { return .bad(offset: offset, reason: "a record is longer than the file") }
        try fill(header.recordBytes)
        guard view({ header.verifies($0, salt: salt) }) else { return .bad(offset: offset, reason: "a record's checksum is wrong") }
        guard header.sequence == expected else {
            return .bad(offset: offset, reason: "sequence \(header.sequence) stands where \(expected) belongs")
        }
        guard LogFormat.sequences.contains(header.sequence) else { return .bad(offset: offset, reason: "the sequence numbers have run out") }
        let payload = Array(buffer[start + LogFormat.recordHeaderBytes..<start + header.recordBytes])
        let record = Record(
            offset: offset, sequence: header.sequence, epoch: header.epoch, durable: header.durable, payload: payload)
        start += header.recordBytes
        offset += header.recordBytes
        expected += 1
        return .record(record)
    }

    private func view<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        buffer.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[start..<filled])) }
    }

    /// Makes at least `count` bytes from `offset` on available, if the file has them.
    private func fill(_ count: Int) throws {
        if filled - start >= count { return }
        let kept = filled - start
        let wanted = min(max(count, Self.pieceBytes), end - offset)
        var fresh = [UInt8](repeating: 0, count: wanted)
        fresh.replaceSubrange(0..<kept, with: buffer[start..<filled])
        let read = try fresh.withUnsafeMutableBytes {
            try file.read(into: UnsafeMutableRawBufferPointer(rebasing: $0[kept...]), at: offset + kept)
        }
        buffer = fresh
        start = 0
        filled = kept + read
    }
}

/// The forward scan after a bad record: is there proof that the bad record had been durable?
enum LogForwardScan {
    /// The first whole record after `offset` that was written when sequence `sequence` was already durable, if any.
    ///
    /// Candidates are tried at every byte, since nothing says where records begin after damage; the sequence number sieves nearly
    /// all of them out before a checksum is computed.
    static func proofOfDurability(
        file: File, salt: UInt32, after offset: Int, sequence: UInt64, end: Int
    ) throws -> (offset: Int, sequence: UInt64)? {
        var bytes = [UInt8](repeating: 0, count: end - offset)
        let count = try bytes.withUnsafeMutableBytes { try file.read(into: $0, at: offset) }
        return bytes.withUnsafeBytes { whole in
            let limit = sequence &+ UInt64(count / LogFormat.recordHeaderBytes) &+ 1
            var position = 1
            while position + LogFormat.recordHeaderBytes <= count {
                // Inside the bytes: at least one record header follows `position`.
                let found = UInt64(littleEndian: whole.loadUnaligned(fromByteOffset: position + 8, as: UInt64.self))
                if found > sequence, found <= limit {
                    let rest = UnsafeRawBufferPointer(rebasing: whole[position..<count])
                    if let header = LogFormat.RecordHeader(rest), header.durable >= sequence, header.durable < found,
                        header.verifies(rest, salt: salt)
                    {
                        return (offset + position, found)
                    }
                }
                position += 1
            }
            return nil
        }
    }
}
