import Glibc
import NeedletailStorage

/// A log's directory with up to three segments.
///
/// The first byte is a set of flags, then come the segments, each after its length in two bytes. Bit 0 asks for the checksums of the
/// headers and records to be put right, without which a fuzzer never gets past the first of them; bits 1 and 2 choose file names.
enum LogReader {
    private static let folder = ScratchFolder("log")

    static func read(_ bytes: [UInt8]) {
        guard let flags = bytes.first else { return }
        folder.empty()
        var names = [FirstSequence.one, .next, .next]
        if flags & 2 != 0 { names[0] = .given }
        if flags & 4 != 0 { names = [.zero, .one, .given] }
        var next: UInt64 = 1
        for (index, piece) in pieces(of: bytes.dropFirst()).enumerated() {
            var piece = piece
            let first = names[index].value(piece, next: next)
            if flags & 1 != 0 { next = repair(&piece, first: first) }
            folder.write(piece, to: name(first))
        }
        var configuration = LogConfiguration()
        configuration.syncMode = .interval(.seconds(1))
        guard let (log, recovery) = try? ReplicaLog.open(directory: folder.path, configuration: configuration) else {
            _ = try? ReplicaLog.repair(directory: folder.path)
            return
        }
        var records = 0
        try? log.replay(from: log.firstSequence) { _, _, _ in records += 1 }
        precondition(records == recovery.recordCount, "\(recovery.recordCount) records were found, \(records) were replayed")
        // What recovery left is a log that goes on.
        if let sequence = log.nextSequence, sequence > 0, sequence < .max {
            try? log.append(sequence: sequence, epoch: log.lastEpoch, payload: [1, 2, 3])
            try? log.commit()
            precondition(log.lastSequence == sequence, "the log does not go on")
        }
        guard let again = try? ReplicaLog.open(directory: folder.path, configuration: configuration) else {
            preconditionFailure("a log that opened does not open again")
        }
        precondition(again.log.lastSequence == log.lastSequence && again.recovery.cut == nil, "opening changed what the log holds")
    }

    private enum FirstSequence {
        case zero, one, next, given

        /// `given`: as the piece's own header has it.
        func value(_ piece: [UInt8], next: UInt64) -> UInt64 {
            switch self {
            case .zero: 0
            case .one: 1
            case .next: next
            case .given: piece.count < 24 ? 1 : (0..<8).reduce(0) { $0 | UInt64(piece[16 + $1]) << UInt64($1 * 8) }
            }
        }
    }

    private static func name(_ first: UInt64) -> String {
        let digits = String(first)
        return String(repeating: "0", count: 20 - digits.count) + digits + ".log"
    }

    private static func pieces(of bytes: ArraySlice<UInt8>) -> [[UInt8]] {
        var (rest, pieces) = (bytes, [[UInt8]]())
        while rest.count > 2, pieces.count < 3 {
            let count = Int(rest[rest.startIndex]) << 8 | Int(rest[rest.startIndex + 1])
            pieces.append(Array(rest.dropFirst(2).prefix(count)))
            rest = rest.dropFirst(2 + count)
        }
        return pieces
    }

    /// Makes the header's checksum right, and those of as many records as the lengths lead to; returns the sequence after the last.
    private static func repair(_ piece: inout [UInt8], first: UInt64) -> UInt64 {
        guard piece.count >= 32 else { return first &+ 1 }
        piece.put(first, at: 16)
        piece.put(crc32c(piece[..<24]), at: 24)
        let salt = piece.u32(at: 12)
        var (offset, sequence) = (32, first)
        while offset + 32 <= piece.count {
            let end = offset + 32 + Int(piece.u32(at: offset))
            guard end <= piece.count else { break }
            piece.put(sequence, at: offset + 8)
            piece.put(crc32c(piece[offset + 8..<end], seed: crc32c(piece[offset..<offset + 4], seed: salt)), at: offset + 4)
            (offset, sequence) = (end, sequence &+ 1)
        }
        return sequence
    }

    static func seeds() -> [[UInt8]] {
        folder.empty()
        var seeds: [[UInt8]] = []
        for (records, segmentBytes) in [(0, 1 << 20), (3, 1 << 20), (6, 100), (20, 1 << 20)] {
            var configuration = LogConfiguration()
            configuration.segmentBytes = segmentBytes
            folder.empty()
            guard let log = try? ReplicaLog.open(directory: folder.path, configuration: configuration).log else { continue }
            try? log.reset(nextSequence: 1)
            for number in 0..<records {
                try? log.append(sequence: UInt64(number + 1), epoch: 1, payload: (0..<number * 3).map { UInt8($0) })
                if number % 2 == 0 { try? log.commit() }
            }
            try? log.commit()
            let segments = folder.files().prefix(3).flatMap { file in [UInt8(file.count >> 8), UInt8(file.count & 255)] + file }
            for flags in [0, 1, 3, 5] as [UInt8] { seeds.append([flags] + segments) }
        }
        return seeds
    }
}
