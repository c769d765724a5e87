import NeedletailCore
public import Synchronization

/// One array of fixed-stride slots whose addresses never move: a contiguous range of reserved addresses, given memory in slabs of
/// 128 KiB as the array grows. Slot `s` is at `base + s * strideBytes` for as long as the array lives, so readers need no lock.
///
/// Nothing is reserved before the first slot is asked for, and fresh slots read as zeros.
///
/// **Checkpoints.** A slab is a byte range, so a slot may lie in two. `beginCheckpoint` turns the dirty slabs into pending ones; the
/// first writer that touches a pending slab copies it aside, and a drain hands out every pending slab as it was at that moment:
///
///     writer   willWrite(slot:)  →  modify the slot                                   (any number of threads)
///     barrier  no writer between its willWrite and the end of its modification:  beginCheckpoint
///     drain    nextPendingImage … until nil  →  finishCheckpoint, or abandonCheckpoint when the images came to nothing
///
/// The drain copies under the same lock a writer needs to leave the pending state, so a copy never races with a modification.
///
/// `@unchecked Sendable`: `slabStates` are atomics; the side images are guarded by their stripe's mutex; `growth` guards growing; the
/// slots themselves are the caller's to synchronise.
public final class SlabArray: @unchecked Sendable {
    public static let slabBytes = 1 << 17

    /// Bits of a slab's state.
    @usableFromInline enum SlabState {
        /// Modified since the last `beginCheckpoint`.
        @usableFromInline static var dirty: UInt8 { 1 }
        /// Part of the running checkpoint and neither copied aside nor drained.
        @usableFromInline static var pending: UInt8 { 2 }
    }

    public let name: String
    public let strideBytes: Int
    /// The most slots the array can ever hold.
    public let capacity: Int
    let usesHugePages: Bool
    /// Where the slots lie in a file instead of memory that only swapping could take back; nil: in memory.
    public let folder: SlabFolder?

    @usableFromInline let shift = 17
    @usableFromInline let stride: Int
    // Both are written once, under `growth`, before the first slot number is handed out, and not freed before `deinit`.
    @usableFromInline var storage: UnsafeMutableRawPointer?
    @usableFromInline var slabStates: UnsafeMutablePointer<Atomic<UInt8>>?

    private let used = Atomic<Int>(0)
    private struct Growth {
        var mapping: UnsafeMutableRawBufferPointer?
        /// The file of an array with a folder, open for as long as the array lives.
        var file: File?
        var slabCount = 0
    }
    private let growth = Mutex<UnsafeBox<Growth>>(UnsafeBox(Growth()))
    let checkpoint = Mutex(SlabCheckpoint())
    let sideImages = SlabSideImages()

    /// An array of at most `capacity` slots of `strideBytes` (1 byte to 128 KiB) each. `usesHugePages` asks the kernel for 2 MiB pages.
    /// With a `folder` the slots lie in a mapped file there, which has no name and goes with the array: it is memory, not storage.
    public init(name: String, strideBytes: Int, capacity: Int, usesHugePages: Bool = false, folder: SlabFolder? = nil) {
        precondition(strideBytes > 0 && strideBytes <= Self.slabBytes, "a slot has 1 byte to 128 KiB")
        precondition(capacity >= 0 && !capacity.multipliedReportingOverflow(by: strideBytes).overflow, "the capacity overflows")
        self.name = name
        self.strideBytes = strideBytes
        stride = strideBytes
        self.capacity = capacity
        self.usesHugePages = usesHugePages && folder == nil
        self.folder = folder
    }

    deinit {
        // Atomic<UInt8> is trivial: its memory needs no deinitialisation.
        slabStates?.deallocate()
        if let mapping = growth.withLock({ $0.value.mapping }) { SystemMemory.release(mapping) }
    }

    /// The address of slot 0. Valid while the array lives, and only after `ensureCapacity` for at least one slot.
    @inlinable public var base: UnsafeMutableRawPointer { storage! }

    /// How many slots were asked for so far: those at or beyond are not accessible.
    public var slotCount: Int { used.load(ordering: .acquiring) }

    /// Memory committed, in bytes; what was never touched of it costs nothing.
    public var committedBytes: Int { growth.withLock { $0.value.slabCount } * Self.slabBytes }

    /// Makes slots `0 ..< slots` accessible. Any thread; existing slots stay where they are.
    ///
    /// - Throws: `resourceExhausted` beyond the capacity, or when there is no memory.
    public func ensureCapacity(slots: Int) throws {
        if slots <= used.load(ordering: .acquiring) { return }
        guard slots <= capacity else {
            throw NeedletailError(
                .resourceExhausted, "\(slots) slots exceed the capacity of \(capacity); make the collection again with more shards.",
                location: name)
        }
        try growth.withLock { box in
            if box.value.mapping == nil { try reserve(&box.value) }
            let needed = Self.slabCount(slots: slots, strideBytes: strideBytes)
            if needed > box.value.slabCount {
                let wanted = commitment(needed: needed, committed: box.value.slabCount)
                // Inside the reservation: it was made for the capacity, rounded up to slabs.
                let start = base + box.value.slabCount * Self.slabBytes
                let range = UnsafeMutableRawBufferPointer(start: start, count: (wanted - box.value.slabCount) * Self.slabBytes)
                if let file = box.value.file {
                    try file.map(range, at: box.value.slabCount * Self.slabBytes)
                } else {
                    try SystemMemory.commit(range, hugePages: usesHugePages, location: name)
                }
                box.value.slabCount = wanted
            }
            if slots > used.load(ordering: .relaxed) { used.store(slots, ordering: .releasing) }
        }
    }

    /// How many slabs to commit when `needed` are. A huge page is given only to memory that was committed in one piece around it, so an
    /// array that wants them grows by a quarter, in pairs of slabs, once it is large enough for the waste not to matter. So does a file,
    /// for the sake of few mappings.
    private func commitment(needed: Int, committed: Int) -> Int {
        guard usesHugePages || folder != nil, needed > 64 else { return needed }
        let generous = (max(needed, committed + committed / 4) + 15) & ~15
        return min(generous, Self.slabCount(slots: capacity, strideBytes: strideBytes))
    }

    private func reserve(_ growth: inout Growth) throws {
        if let folder, growth.file == nil { growth.file = try folder.disk.openUnnamed("\(folder.path)/\(name).memory") }
        let slabs = Self.slabCount(slots: capacity, strideBytes: strideBytes)
        let (mapping, start) = try SystemMemory.reserve(slabs * Self.slabBytes, location: name)
        growth.mapping = mapping
        storage = start
        let states = UnsafeMutablePointer<Atomic<UInt8>>.allocate(capacity: slabs)
        for slab in 0..<slabs { (states + slab).initialize(to: Atomic(0)) }
        slabStates = states
    }

    static func slabCount(slots: Int, strideBytes: Int) -> Int { (slots * strideBytes + slabBytes - 1) / slabBytes }

    /// To be called before each modification of a slot, by the thread that makes it: marks the slab dirty and, while a checkpoint
    /// waits for it, saves its image first. Two loads when there is nothing to do.
    @inlinable @inline(__always)
    public func willWrite(slot: Int) {
        let start = slot &* stride
        let first = start >> shift
        let last = (start &+ stride &- 1) >> shift
        // The caller owns the slot, so it lies below `slotCount` and its slabs have states.
        let states = slabStates.unsafelyUnwrapped
        if states[first].load(ordering: .acquiring) != SlabState.dirty { makeWritable(slab: first) }
        if last != first, states[last].load(ordering: .acquiring) != SlabState.dirty { makeWritable(slab: last) }
    }

    /// The slow half of `willWrite`: at most once a slab and checkpoint for each thread.
    @usableFromInline @inline(never)
    func makeWritable(slab: Int) {
        let state = slabStates! + slab
        if state.pointee.load(ordering: .acquiring) & SlabState.pending == 0 {
            // Only `beginCheckpoint` sets pending, and it does not run beside writers: the slab stays writable.
            _ = state.pointee.bitwiseOr(SlabState.dirty, ordering: .acquiringAndReleasing)
            return
        }
        sideImages.withStripe(slab) { images in
            // Another writer or the drain may have been first.
            if state.pointee.load(ordering: .acquiring) & SlabState.pending != 0 {
                let image = sideImages.takeBuffer()
                image.copy(from: base + slab * Self.slabBytes)
                images.saved[slab] = image
            }
            state.pointee.store(SlabState.dirty, ordering: .releasing)
        }
    }
}

/// A folder for the files of arrays whose slots are not to stay in memory.
public struct SlabFolder: Sendable {
    public let path: String
    let disk: Disk

    public init(path: String, disk: Disk) {
        self.path = path
        self.disk = disk
    }
}

/// Lets a value that holds pointers stand behind a mutex, which is what guards it.
struct UnsafeBox<Value>: @unchecked Sendable {
    var value: Value
    init(_ value: Value) { self.value = value }
}
