public import NeedletailCore

/// Folders that are copied to another machine piece by piece.
extension Disk {
    /// Every file in a folder and the folders in it, by name.
    public func files(in folder: String) throws -> [CopiedFile] {
        try list(folder).flatMap { name throws -> [CopiedFile] in
            let path = folder + "/" + name
            guard isDirectory(path) else { return [CopiedFile(name: name, sizeBytes: UInt64(try sizeBytes(path)))] }
            return try files(in: path).map { CopiedFile(name: name + "/" + $0.name, sizeBytes: $0.sizeBytes) }
        }
    }

    /// At most `count` bytes from `offset` on; fewer at the end of the file.
    public func readPiece(_ path: String, at offset: Int, count: Int) throws -> [UInt8] {
        let file = try open(path, .read)
        var bytes = [UInt8](repeating: 0, count: count)
        let read = try bytes.withUnsafeMutableBytes { try file.read(into: $0, at: offset) }
        return read == count ? bytes : Array(bytes[..<read])
    }

    /// Writes a piece of a file that grows from its beginning; the piece at 0 empties it first.
    public func writePiece(_ path: String, at offset: Int, _ bytes: [UInt8]) throws {
        if offset == 0, let slash = path.lastIndex(of: "/") { try createDirectory(String(path[..<slash])) }
        try open(path, offset == 0 ? .createOrTruncate : .readWrite).write(bytes, at: offset)
    }

    /// Makes a folder, all its files and their names durable.
    public func syncTree(_ folder: String) throws {
        for name in try list(folder) {
            let path = folder + "/" + name
            if isDirectory(path) { try syncTree(path) } else { try open(path, .readWrite).sync() }
        }
        try syncDirectory(folder)
    }

    /// A second name for a file; nothing when the name is taken.
    public func addName(_ path: String, _ name: String) throws { if !exists(name) { try hardLink(path, to: name) } }
}

extension ReplicaLog {
    /// Makes an empty log in a folder that has none, to go on after a checkpoint whose last record was of `epoch`.
    public static func begin(directory: String, after sequence: UInt64, epoch: UInt64, disk: Disk) throws {
        let (log, _) = try open(directory: directory, disk: disk)
        try log.reset(nextSequence: sequence + 1, epoch: epoch)
    }
}
