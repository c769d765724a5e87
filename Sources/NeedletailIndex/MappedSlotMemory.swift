public import NeedletailCore
private import Glibc

/// Slot memory in a file of its own, mapped: what is not in use the system may take back and read again later. For benchmarks and tests of
/// the index alone; the file is removed with the object.
public final class MappedSlotMemory: SlotMemory, @unchecked Sendable {
    // Sendable: `base` and `capacity` never change; what lies behind `base` is guarded by the index that uses it.
    public let strideBytes: Int
    public let base: UnsafeMutableRawPointer
    private let path: String
    private let byteCount: Int
    private let capacity: Int

    /// - Throws: `resourceExhausted` when the file cannot be made or mapped.
    public init(path: String, strideBytes: Int, capacity: Int) throws(NeedletailError) {
        self.strideBytes = strideBytes
        self.capacity = capacity
        self.path = path
        byteCount = (max(1, strideBytes * capacity) + 4095) & ~4095
        let file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0o600)
        guard file >= 0, ftruncate(file, off_t(byteCount)) == 0 else {
            if file >= 0 { close(file) }
            throw Self.failed("made", path)
        }
        let mapped = mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0)
        // The mapping keeps the file; the descriptor is not needed for it.
        close(file)
        guard let mapped, mapped != MAP_FAILED else { throw Self.failed("mapped", path) }
        base = mapped
        // Single rows all over the file are read: reading ahead would only fill memory.
        madvise(mapped, byteCount, MADV_RANDOM)
    }

    private static func failed(_ what: String, _ path: String) -> NeedletailError {
        NeedletailError(
            .resourceExhausted, "a file for vectors cannot be \(what) (errno \(errno)); free disk space or choose another folder",
            location: path)
    }

    deinit {
        munmap(base, byteCount)
        unlink(path)
    }

    public func ensureCapacity(slots: Int) throws(NeedletailError) {
        guard slots <= capacity else {
            throw NeedletailError(.resourceExhausted, "the partition is full at \(capacity) points; use more shards")
        }
    }

    public func willWrite(slot: Int) {}

    /// Hands the pages to the file and takes them out of this process's memory; they come back as they are read.
    public func evict() {
        msync(base, byteCount, MS_SYNC)
        madvise(base, byteCount, MADV_DONTNEED)
    }
}
