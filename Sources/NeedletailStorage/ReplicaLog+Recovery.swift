import NeedletailCore

/// What one segment file turned out to be.
struct LogSegmentScan {
    enum Verdict {
        case whole
        /// The header was never finished; the file holds nothing else.
        case unfinished
        /// The bytes from `offset` on are not records; `proof` is a later record written when the one at `offset` was durable.
        case bad(offset: Int, reason: String, proof: Int?)
        /// Not even the header can be used.
        case unreadable(NeedletailError)
    }

    var segment: LogSegment
    var verdict: Verdict
    var recordCount = 0
    var lastEpoch: UInt64 = 0
    var epochs: [LogEpoch] = []
    var fileBytes = 0

    /// Reads and checks every record of the segment at `path`.
    static func scan(path: String, firstSequence: UInt64, file: File) throws -> LogSegmentScan {
        let size = try file.sizeBytes()
        var header = [UInt8](repeating: 0, count: min(size, LogFormat.headerBytes))
        _ = try header.withUnsafeMutableBytes { try file.read(into: $0, at: 0) }
        let salt: UInt32
        do {
            salt = try LogFormat.parseHeader(header, firstSequence: firstSequence, path: path)
        } catch let error as NeedletailError {
            // The header is synced before the first record is written: without records it may be unfinished, with them it is damaged.
            let unfinished = size <= LogFormat.headerBytes && error.code == .dataLoss
            let segment = LogSegment(firstSequence: firstSequence, path: path, salt: 0)
            return LogSegmentScan(segment: segment, verdict: unfinished ? .unfinished : .unreadable(error), fileBytes: size)
        }
        var scan = LogSegmentScan(
            segment: LogSegment(firstSequence: firstSequence, path: path, salt: salt), verdict: .whole, fileBytes: size)
        try scan.walk(file, size: size)
        return scan
    }

    private mutating func walk(_ file: File, size: Int) throws {
        let reader = LogSegmentReader(
            file: file, salt: segment.salt, offset: LogFormat.headerBytes, sequence: segment.firstSequence, end: size)
        while true {
            switch try reader.next() {
            case .record(let record):
                recordCount += 1
                lastEpoch = record.epoch
                epochs.note(epoch: record.epoch, sequence: record.sequence)
                segment.mark(sequence: record.sequence, offset: record.offset)
                segment.lastSequence = record.sequence
                segment.sizeBytes = reader.offset
            case .end: return
            case .bad(let offset, let reason):
                let proof = try LogForwardScan.proofOfDurability(
                    file: file, salt: segment.salt, after: offset, sequence: segment.lastSequence &+ 1, end: size)
                verdict = .bad(offset: offset, reason: reason, proof: proof?.offset)
                return
            }
        }
    }
}

extension ReplicaLog {
    /// Opens the log in `directory`, creating it when missing, and checks every record.
    ///
    /// The last segment may end in a torn write, which is cut off and reported; `LogFormat` says how that is told from damage.
    ///
    /// - Throws: `dataLoss` naming file and offset when records are damaged or missing before the end; `failedPrecondition` for a
    ///   newer format version. Nothing is changed then.
    public static func open(
        directory: String, configuration: LogConfiguration = LogConfiguration(), disk: Disk = .real
    ) throws -> (log: ReplicaLog, recovery: LogRecovery) {
        try disk.createDirectory(directory)
        let firsts = try disk.list(directory).compactMap(LogFormat.firstSequence(name:))
        var state = State()
        var recovery = LogRecovery()
        var file: File?
        for (index, first) in firsts.enumerated() {
            let path = directory + "/" + LogFormat.name(firstSequence: first)
            if let last = state.segments.last, last.lastSequence + 1 != first {
                throw gap(path, found: first, expected: last.lastSequence + 1)
            }
            let opened = try disk.open(path, .readWrite)
            var scan = try LogSegmentScan.scan(path: path, firstSequence: first, file: opened)
            try settle(&scan, opened, isLast: index == firsts.count - 1, &recovery)
            state.segments.append(scan.segment)
            if scan.recordCount > 0 { state.committedEpoch = scan.lastEpoch }
            for start in scan.epochs { state.epochs.note(epoch: start.epoch, sequence: start.firstSequence) }
            recovery.recordCount += scan.recordCount
            file = opened
        }
        // What was read may be in the page cache only: from here on it counts as durable, so it has to be.
        try file?.sync()
        try disk.syncDirectory(directory)
        recovery.segmentCount = firsts.count
        state.durableSequence = state.committedSequence
        state.lastEpoch = state.committedEpoch
        return (ReplicaLog(directory: directory, configuration: configuration, disk: disk, state: state, file: file), recovery)
    }

    /// Accepts a segment, cutting a torn end when the segment may have one, or throws.
    private static func settle(_ scan: inout LogSegmentScan, _ file: File, isLast: Bool, _ recovery: inout LogRecovery) throws {
        let path = scan.segment.path
        switch scan.verdict {
        case .whole: return
        case .unreadable(let error): throw error
        case .unfinished:
            guard isLast else { throw LogFormat.headerError("has no whole header", path) }
            let salt = UInt32.random(in: .min ... .max)
            try file.truncate(to: 0)
            try file.write(LogFormat.header(firstSequence: scan.segment.firstSequence, salt: salt), at: 0)
            scan.segment = LogSegment(firstSequence: scan.segment.firstSequence, path: path, salt: salt)
            recovery.cut = .init(path: path, offset: 0, bytesCut: scan.fileBytes, reason: "the segment's header was not finished")
        case .bad(let offset, let reason, let proof):
            guard isLast, proof == nil else { throw damage(path, offset, reason, proof) }
            try file.truncate(to: offset)
            recovery.cut = .init(path: path, offset: offset, bytesCut: scan.fileBytes - offset, reason: reason)
        }
    }

    private static func damage(_ path: String, _ offset: Int, _ reason: String, _ proof: Int?) -> NeedletailError {
        let later = proof.map { "acknowledged records follow at offset \($0)" } ?? "a later segment follows"
        return NeedletailError(
            .dataLoss, "The log is damaged: \(reason), and \(later). \(LogFormat.advice(path))", location: "\(path):\(offset)")
    }

    static func gap(_ path: String, found: UInt64, expected: UInt64) -> NeedletailError {
        NeedletailError(
            .dataLoss,
            "The log has a gap: a segment begins at sequence \(found), \(expected) was expected. \(LogFormat.advice(path))",
            location: "\(path):0")
    }
}
