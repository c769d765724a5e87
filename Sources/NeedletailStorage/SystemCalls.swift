// Every file and memory system call of the module is in this file, so that one seam (`Disk`) can make any of them fail in a test.
import Glibc
import NeedletailCore
import Synchronization

/// The cause of a storage error: which call failed, and how.
public struct SystemCallError: Error, Sendable, CustomStringConvertible {
    public let call: String
    public let errno: Int32
    public var description: String { "\(call): \(String(cString: strerror(errno))) (errno \(errno))" }
    public var isOutOfSpace: Bool { errno == ENOSPC || errno == EDQUOT }
}

/// A call about to be made, as a fault plan sees it.
public struct DiskOperation: Sendable {
    public enum Kind: Sendable { case open, read, write, sync, truncate, rename, remove, freeSpace }
    public let kind: Kind
    public let path: String
    /// For reads and writes: how many bytes are asked for.
    public let count: Int
}

/// What a fault plan answers instead of letting the call happen.
public enum DiskFault: Sendable {
    /// The call fails with this errno and does nothing.
    case error(Int32)
    /// A write stores this many bytes and says so; the rest is asked for again.
    case short(Int)
    /// The free-space question is answered with this many bytes.
    case freeBytes(UInt64)
}

/// The file system, with a seam: `intercept` sees each call first and may answer with a fault.
public final class Disk: Sendable {
    public static let real = Disk()

    private let intercept: (@Sendable (DiskOperation) -> DiskFault?)?
    private let syncCounter = Atomic<Int>(0)

    public init(intercept: (@Sendable (DiskOperation) -> DiskFault?)? = nil) { self.intercept = intercept }

    /// How many fsync and fdatasync calls were made, failed ones included.
    public var syncCount: Int { syncCounter.load(ordering: .relaxed) }

    func fault(_ kind: DiskOperation.Kind, _ path: String, count: Int = 0) -> DiskFault? {
        if kind == .sync { syncCounter.add(1, ordering: .relaxed) }
        return intercept?(DiskOperation(kind: kind, path: path, count: count))
    }

    /// Throws when the plan wants the call to fail.
    func check(_ kind: DiskOperation.Kind, _ path: String, call: String) throws {
        if case .error(let code) = fault(kind, path) { throw systemError(call, code, path) }
    }

    // MARK: Directories and names

    /// Creates the directory and its parents; an existing one is no error.
    public func createDirectory(_ path: String) throws {
        if mkdir(path, 0o755) == 0 || errno == EEXIST { return }
        let code = errno
        guard code == ENOENT, let slash = path.lastIndex(of: "/"), slash != path.startIndex else {
            throw systemError("mkdir", code, path)
        }
        try createDirectory(String(path[..<slash]))
        if mkdir(path, 0o755) != 0 && errno != EEXIST { throw systemError("mkdir", errno, path) }
    }

    /// The names in a directory, sorted; empty when the directory does not exist.
    public func list(_ path: String) throws -> [String] {
        guard let directory = opendir(path) else {
            if errno == ENOENT { return [] }
            throw systemError("opendir", errno, path)
        }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            // readdir gives a NUL-terminated name inside the entry, valid until the next call; it is copied here.
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    public func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    func sizeBytes(_ path: String) throws -> Int {
        var status = stat()
        if stat(path, &status) != 0 { throw systemError("stat", errno, path) }
        return Int(status.st_size)
    }

    func rename(_ from: String, to: String) throws {
        try check(.rename, to, call: "rename")
        if Glibc.rename(from, to) != 0 { throw systemError("rename", errno, to) }
    }

    /// Removes a file; a missing one is no error.
    func remove(_ path: String) throws {
        try check(.remove, path, call: "unlink")
        if unlink(path) != 0 && errno != ENOENT { throw systemError("unlink", errno, path) }
    }

    func isDirectory(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// Removes a directory that has nothing in it.
    func removeEmptyDirectory(_ path: String) throws {
        if rmdir(path) != 0 && errno != ENOENT { throw systemError("rmdir", errno, path) }
    }

    /// Claims a folder for this process until the returned lock goes away, also by a crash.
    ///
    /// - Throws: `failedPrecondition` when another process has claimed it.
    public func lock(_ directory: String) throws -> DirectoryLock {
        try createDirectory(directory)
        let path = directory + "/LOCK"
        let descriptor = Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw systemError("open", errno, path) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            close(descriptor)
            throw NeedletailError(
                .failedPrecondition, "another process uses this data folder; stop it, or name another folder with --data", location: directory)
        }
        return DirectoryLock(descriptor: descriptor)
    }

    /// A second name for the same bytes, on the same file system.
    func hardLink(_ from: String, to: String) throws {
        if link(from, to) != 0 { throw systemError("link", errno, to) }
    }

    /// Makes creations, renames and removals in the directory durable.
    func syncDirectory(_ path: String) throws {
        try check(.sync, path, call: "fsync")
        let descriptor = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw systemError("open", errno, path) }
        defer { close(descriptor) }
        if fsync(descriptor) != 0 { throw systemError("fsync", errno, path) }
    }

    /// Bytes an ordinary user may still write to the file system that holds `path`.
    func freeBytes(_ path: String) throws -> UInt64 {
        switch fault(.freeSpace, path) {
        case .freeBytes(let bytes): return bytes
        case .error(let code): throw systemError("statvfs", code, path)
        default: break
        }
        var status = statvfs()
        if statvfs(path, &status) != 0 { throw systemError("statvfs", errno, path) }
        return UInt64(status.f_bavail) * UInt64(status.f_frsize)
    }

    // MARK: Files

    enum Access { case read, readWrite, createOrTruncate }

    func open(_ path: String, _ access: Access) throws -> File {
        try check(.open, path, call: "open")
        let flags: Int32 =
            switch access {
            case .read: O_RDONLY
            case .readWrite: O_RDWR
            case .createOrTruncate: O_RDWR | O_CREAT | O_TRUNC
            }
        var descriptor: Int32
        repeat { descriptor = Glibc.open(path, flags | O_CLOEXEC, 0o644) } while descriptor < 0 && errno == EINTR
        guard descriptor >= 0 else { throw systemError("open", errno, path) }
        return File(descriptor: descriptor, path: path, disk: self)
    }

    /// An empty file for memory that is given out piece by piece. It has no name any more, so nothing is left of it once it is closed.
    func openUnnamed(_ path: String) throws -> File {
        // One of a process that ended between the two calls below.
        try remove(path)
        try check(.open, path, call: "open")
        let descriptor = Glibc.open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw systemError("open", errno, path) }
        let file = File(descriptor: descriptor, path: path, disk: self)
        try remove(path)
        return file
    }
}

/// An open file: owns the descriptor and closes it. All positions are explicit, so one file may be read by several threads.
final class File: Sendable {
    private let descriptor: Int32
    let path: String
    private let disk: Disk

    fileprivate init(descriptor: Int32, path: String, disk: Disk) {
        self.descriptor = descriptor
        self.path = path
        self.disk = disk
    }

    deinit { close(descriptor) }

    func sizeBytes() throws -> Int {
        var status = stat()
        if fstat(descriptor, &status) != 0 { throw systemError("fstat", errno, path) }
        return Int(status.st_size)
    }

    /// Lets a page-aligned part of a reservation be the bytes from `offset` on, which are zeros when the file ended there.
    ///
    /// The disk's blocks are claimed first: a page that finds no room when it is written back would end the process.
    func map(_ range: UnsafeMutableRawBufferPointer, at offset: Int) throws {
        try disk.check(.write, path, call: "posix_fallocate")
        var code: Int32
        repeat { code = posix_fallocate(descriptor, off_t(offset), off_t(range.count)) } while code == EINTR
        if code != 0 { throw systemError("posix_fallocate", code, path) }
        let flags = MAP_SHARED | MAP_FIXED
        guard mmap(range.baseAddress, range.count, PROT_READ | PROT_WRITE, flags, descriptor, off_t(offset)) != MAP_FAILED else {
            throw systemError("mmap", errno, path)
        }
        // Single rows all over the file are read: reading ahead would only fill memory. Advice only.
        madvise(range.baseAddress, range.count, MADV_RANDOM)
    }

    /// Fills `buffer` from `offset` on; returns how many bytes there were before the end of the file.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws -> Int {
        try disk.check(.read, path, call: "pread")
        var done = 0
        while done < buffer.count {
            // `done` is below the count, so the buffer has a base address and the range stays inside it.
            let count = pread(descriptor, buffer.baseAddress! + done, buffer.count - done, off_t(offset + done))
            if count < 0 {
                if errno == EINTR { continue }
                throw systemError("pread", errno, "\(path):\(offset + done)")
            }
            if count == 0 { break }
            done += count
        }
        return done
    }

    /// Writes all of `bytes` at `offset`. After an error an unknown prefix of them is in the file.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws {
        var done = 0
        while done < bytes.count {
            var wanted = bytes.count - done
            switch disk.fault(.write, path, count: wanted) {
            case .error(let code): throw systemError("pwrite", code, "\(path):\(offset + done)")
            case .short(let count): wanted = max(1, min(count, wanted))
            default: break
            }
            // `wanted` is at most what is left of the buffer.
            let count = pwrite(descriptor, bytes.baseAddress! + done, wanted, off_t(offset + done))
            if count < 0 {
                if errno == EINTR { continue }
                throw systemError("pwrite", errno, "\(path):\(offset + done)")
            }
            done += count
        }
    }

    func write(_ bytes: [UInt8], at offset: Int) throws { try bytes.withUnsafeBytes { try write($0, at: offset) } }

    /// Makes the contents and the size durable.
    func sync() throws {
        try disk.check(.sync, path, call: "fdatasync")
        // Not repeated after EINTR or EIO: Linux drops the error state and the dirty pages, so a second call would lie.
        if fdatasync(descriptor) != 0 { throw systemError("fdatasync", errno, path) }
    }

    func truncate(to size: Int) throws {
        try disk.check(.truncate, path, call: "ftruncate")
        if ftruncate(descriptor, off_t(size)) != 0 { throw systemError("ftruncate", errno, path) }
    }
}

/// The project's error for a failed call: the code says who must act, the cause holds the errno.
func systemError(_ call: String, _ code: Int32, _ location: String) -> NeedletailError {
    let cause = SystemCallError(call: call, errno: code)
    switch code {
    case ENOSPC, EDQUOT:
        return NeedletailError(
            .resourceExhausted, "The disk is full; free space on the file system.", cause: cause, location: location)
    case ENOMEM, EMFILE, ENFILE, EAGAIN:
        return NeedletailError(
            .resourceExhausted, "The process is out of memory or file descriptors; raise the limit.", cause: cause,
            location: location)
    case EIO:
        return NeedletailError(
            .dataLoss, "The disk reports an input/output error; check the device, then restart the process.", cause: cause, location: location)
    case ENOENT: return NeedletailError(.notFound, "The file does not exist.", cause: cause, location: location)
    case EROFS:
        return NeedletailError(
            .failedPrecondition, "The file system is read-only; mount it for writing, or choose another folder.", cause: cause, location: location)
    case ENOTDIR:
        return NeedletailError(.failedPrecondition, "A file stands where a folder should be; choose another folder.", cause: cause, location: location)
    case EACCES, EPERM:
        return NeedletailError(
            .failedPrecondition, "The file may not be accessed; check its owner and mode.", cause: cause, location: location)
    default: return NeedletailError(.internal, "A system call failed.", cause: cause, location: location)
    }
}

// MARK: Memory

/// A reserved range of addresses, committed piece by piece and released as a whole.
enum SystemMemory {
    static let hugePageBytes = 2 << 20

    /// Reserves `count` bytes of addresses, aligned to a huge page, that cost no memory and trap when touched.
    static func reserve(_ count: Int, location: String) throws -> (
        mapping: UnsafeMutableRawBufferPointer, base: UnsafeMutableRawPointer
    ) {
        let whole = count + hugePageBytes
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
        guard let address = mmap(nil, whole, PROT_NONE, flags, -1, 0), address != MAP_FAILED else {
            throw NeedletailError(
                .resourceExhausted,
                "\(count) bytes of addresses cannot be reserved; lower the capacity or raise the address space limit.",
                cause: SystemCallError(call: "mmap", errno: errno), location: location)
        }
        // Rounding up moves by less than one huge page, which was added to the size.
        let aligned = (UInt(bitPattern: address) + UInt(hugePageBytes) - 1) & ~UInt(hugePageBytes - 1)
        return (.init(start: address, count: whole), UnsafeMutableRawPointer(bitPattern: aligned)!)
    }

    /// Makes a page-aligned part of a reservation readable and writable; it reads as zeros.
    static func commit(_ range: UnsafeMutableRawBufferPointer, hugePages: Bool, location: String) throws {
        if mprotect(range.baseAddress, range.count, PROT_READ | PROT_WRITE) != 0 {
            throw NeedletailError(
                .resourceExhausted, "\(range.count) bytes of memory cannot be committed; add memory.",
                cause: SystemCallError(call: "mprotect", errno: errno), location: location)
        }
        // Advice only: without huge pages everything works, slower.
        if hugePages { madvise(range.baseAddress, range.count, Int32(MADV_HUGEPAGE)) }
    }

    static func release(_ mapping: UnsafeMutableRawBufferPointer) { munmap(mapping.baseAddress, mapping.count) }
}

/// Owns the descriptor of a locked file; the kernel releases the lock when it is closed.
public final class DirectoryLock: Sendable {
    private let descriptor: Int32
    init(descriptor: Int32) { self.descriptor = descriptor }
    deinit { close(descriptor) }
}
