import Glibc

/// A folder in memory for the files a reader is given, emptied before each case.
struct ScratchFolder: Sendable {
    let path: String

    init(_ name: String) {
        let parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"
        path = "\(parent)/needletail-fuzz-\(name)-\(getpid())"
        mkdir(path, 0o755)
        Self.paths.append(path)
        if Self.paths.count == 1 { atexit { ScratchFolder.removeAll() } }
    }

    // Made by the one thread that fuzzes, or by the tests one after the other.
    private nonisolated(unsafe) static var paths: [String] = []

    private static func removeAll() {
        for path in paths {
            for name in names(path) { unlink("\(path)/\(name)") }
            rmdir(path)
        }
    }

    private static func names(_ path: String) -> [String] {
        guard let directory = opendir(path) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    func empty() {
        for name in Self.names(path) { unlink("\(path)/\(name)") }
    }

    func write(_ bytes: [UInt8], to name: String) {
        guard let file = fopen("\(path)/\(name)", "w") else { preconditionFailure("cannot write \(path)/\(name)") }
        fwrite(bytes, 1, bytes.count, file)
        fclose(file)
    }

    /// The contents of the files, by name.
    func files() -> [[UInt8]] {
        Self.names(path).map { name in
            guard let file = fopen("\(path)/\(name)", "r") else { return [] }
            defer { fclose(file) }
            var bytes = [UInt8](repeating: 0, count: 4 << 20)
            bytes.removeLast(bytes.count - fread(&bytes, 1, bytes.count, file))
            return bytes
        }
    }
}

/// CRC32C, bit by bit: the readers' own is not theirs to lend.
func crc32c(_ bytes: some Collection<UInt8>, seed: UInt32 = 0) -> UInt32 {
    var crc = ~seed
    for byte in bytes {
        crc ^= UInt32(byte)
        for _ in 0..<8 { crc = crc & 1 == 0 ? crc >> 1 : crc >> 1 ^ 0x82f6_3b78 }
    }
    return ~crc
}

extension [UInt8] {
    func u32(at offset: Int) -> UInt32 { (0..<4).reduce(0) { $0 | UInt32(self[offset + $1]) << UInt32($1 * 8) } }
    mutating func put(_ value: some FixedWidthInteger, at offset: Int) {
        for index in 0..<value.bitWidth / 8 { self[offset + index] = UInt8(truncatingIfNeeded: value >> (index * 8)) }
    }
}
