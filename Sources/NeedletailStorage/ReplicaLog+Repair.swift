import NeedletailCore

extension ReplicaLog {
    /// Cuts a damaged log at its first bad record and keeps what it removes beside the log, in files named `.damaged`.
    /// The log must not be open. A whole log is left alone.
    ///
    /// Acknowledged records may be lost: the alternative is to delete the collection and import it again.
    public static func repair(directory: String, disk: Disk = .real) throws -> LogRepair {
        var report = LogRepair()
        var expected: UInt64?
        for name in try disk.list(directory) {
            guard let first = LogFormat.firstSequence(name: name) else { continue }
            let path = directory + "/" + name
            if report.cutPath != nil {
                try setAside(path, &report)
                continue
            }
            if let expected, expected != first {
                report.note(path, 0, "sequence \(expected) is missing")
                try setAside(path, &report)
                continue
            }
            try repairSegment(path, first, disk, &report)
            expected = report.lastSequence + 1
        }
        try disk.syncDirectory(directory)
        return report

        func setAside(_ path: String, _ report: inout LogRepair) throws {
            report.bytesRemoved += try disk.sizeBytes(path)
            report.damagedPaths.append(path + ".damaged")
            try disk.rename(path, to: path + ".damaged")
        }
    }

    private static func repairSegment(_ path: String, _ first: UInt64, _ disk: Disk, _ report: inout LogRepair) throws {
        let file = try disk.open(path, .readWrite)
        let scan = try LogSegmentScan.scan(path: path, firstSequence: first, file: file)
        switch scan.verdict {
        case .whole: report.lastSequence = scan.segment.lastSequence
        case .unfinished, .unreadable:
            report.note(path, 0, "the header is damaged")
            report.bytesRemoved += scan.fileBytes
            report.damagedPaths.append(path + ".damaged")
            try disk.rename(path, to: path + ".damaged")
        case .bad(let offset, let reason, _):
            report.lastSequence = scan.segment.lastSequence
            report.note(path, offset, reason)
            try copyTail(file, from: offset, count: scan.fileBytes - offset, to: path + ".damaged", disk)
            try file.truncate(to: offset)
            try file.sync()
            report.bytesRemoved += scan.fileBytes - offset
            report.damagedPaths.append(path + ".damaged")
        }
    }

    private static func copyTail(_ file: File, from offset: Int, count: Int, to path: String, _ disk: Disk) throws {
        let copy = try disk.open(path, .createOrTruncate)
        var bytes = [UInt8](repeating: 0, count: min(count, 1 << 20))
        var done = 0
        while done < count {
            let read = try bytes.withUnsafeMutableBytes {
                try file.read(into: .init(rebasing: $0[..<min($0.count, count - done)]), at: offset + done)
            }
            if read == 0 { break }
            try bytes.withUnsafeBytes { try copy.write(.init(rebasing: $0[..<read]), at: done) }
            done += read
        }
        try copy.sync()
    }
}

extension LogRepair {
    fileprivate mutating func note(_ path: String, _ offset: Int, _ reason: String) {
        cutPath = path
        cutOffset = offset
        self.reason = reason
    }
}
