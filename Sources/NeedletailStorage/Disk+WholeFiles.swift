/// Small files and folders, for what is read and written whole.
extension Disk {
    /// The file's bytes; nil when there is no such file.
    public func readFile(_ path: String) throws -> [UInt8]? {
        guard exists(path) else { return nil }
        let file = try open(path, .read)
        var bytes = [UInt8](repeating: 0, count: try file.sizeBytes())
        let count = try bytes.withUnsafeMutableBytes { try file.read(into: $0, at: 0) }
        return Array(bytes.prefix(count))
    }

    /// Replaces the file durably and all or nothing: written beside it, synced, renamed into place.
    public func replaceFile(_ path: String, with bytes: [UInt8]) throws { try replaceFile(path, with: bytes, through: path + ".tmp") }

    /// The same when several may do it at once, each through a file of its own; that one does not stay when it fails.
    public func replaceFile(_ path: String, with bytes: [UInt8], through temporary: String) throws {
        do {
            let file = try open(temporary, .createOrTruncate)
            try file.write(bytes, at: 0)
            try file.sync()
            try rename(temporary, to: path)
        } catch {
            try? remove(temporary)
            throw error
        }
        try syncDirectory(String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]))
    }

    /// A missing file is no error.
    public func removeFile(_ path: String) throws { try remove(path) }

    /// Renames the folder out of the way, durably, so that a crash in the middle of removing it leaves nothing that looks whole; then
    /// removes it.
    public func removeDirectory(_ path: String) throws {
        guard exists(path) else { return }
        let doomed = path + Self.doomedSuffix
        if !exists(doomed) { try rename(path, to: doomed) }
        try removeTree(doomed)
    }

    /// Renames a folder, durably in both parents.
    public func renameDirectory(_ from: String, to target: String) throws {
        try rename(from, to: target)
        for path in [from, target] { try syncDirectory(String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])) }
    }

    /// The ending of folders whose removal a crash may have interrupted.
    public static var doomedSuffix: String { ".removed" }

    /// Removes a folder and everything in it.
    public func removeTree(_ path: String) throws {
        for name in try list(path) {
            let entry = path + "/" + name
            if isDirectory(entry) { try removeTree(entry) } else { try remove(entry) }
        }
        try removeEmptyDirectory(path)
    }
}

extension Disk {
    public func isFolder(_ path: String) -> Bool { isDirectory(path) }

    public func fileBytes(_ path: String) throws -> UInt64 { UInt64(try sizeBytes(path)) }
}
