import Synchronization

/// A copy of one slab's memory; owns it.
///
/// `@unchecked Sendable`: passed from owner to owner (a stripe, then the drain), never used by two at once.
final class SlabImage: @unchecked Sendable {
    let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: SlabArray.slabBytes, alignment: 4096)
    deinit { bytes.deallocate() }

    func copy(from address: UnsafeMutableRawPointer) {
        bytes.copyMemory(from: UnsafeRawBufferPointer(start: address, count: SlabArray.slabBytes))
    }
}

/// The images writers saved, by slab, spread over a few locks so that writers of different slabs seldom wait for each other's copy.
final class SlabSideImages: Sendable {
    struct Stripe: Sendable {
        var saved: [Int: SlabImage] = [:]
    }

    /// Buffers that no slab uses. Kept, because giving one back to the system stops every thread of the process for a moment (the
    /// address is taken out of all processors' translation caches) and a new one is paid for page by page, by the writer that waits.
    private let spares = Mutex<[SlabImage]>([])
    private static let spareLimit = 64

    func takeBuffer() -> SlabImage { spares.withLock { $0.popLast() } ?? SlabImage() }

    func giveBack(_ image: SlabImage) {
        spares.withLock { if $0.count < Self.spareLimit { $0.append(image) } }
    }

    private static let stripeCount = 8
    private let stripes = Stripes()

    /// A mutex cannot be an array's element; eight stored ones can be chosen from.
    private final class Stripes: Sendable {
        let s0 = Mutex(Stripe()), s1 = Mutex(Stripe()), s2 = Mutex(Stripe()), s3 = Mutex(Stripe())
        let s4 = Mutex(Stripe()), s5 = Mutex(Stripe()), s6 = Mutex(Stripe()), s7 = Mutex(Stripe())
    }

    func withStripe<Result>(_ slab: Int, _ body: (inout sending Stripe) -> sending Result) -> sending Result {
        switch slab % Self.stripeCount {
        case 0: stripes.s0.withLock(body)
        case 1: stripes.s1.withLock(body)
        case 2: stripes.s2.withLock(body)
        case 3: stripes.s3.withLock(body)
        case 4: stripes.s4.withLock(body)
        case 5: stripes.s5.withLock(body)
        case 6: stripes.s6.withLock(body)
        default: stripes.s7.withLock(body)
        }
    }
}

/// The checkpoint under way in one array.
struct SlabCheckpoint: Sendable {
    var isRunning = false
    /// The slabs of the checkpoint, ascending, and how many were handed out.
    var slabs: [Int] = []
    var drained = 0
    /// The slots there were at the barrier.
    var slotCount = 0
}

extension SlabArray {
    /// The state to be saved is the one at this call. The caller guarantees that no writer is between its `willWrite` and the end of
    /// its modification; an unfinished earlier checkpoint must have been finished or abandoned.
    public func beginCheckpoint() {
        checkpoint.withLock { checkpoint in
            precondition(!checkpoint.isRunning, "a checkpoint of this array is under way")
            checkpoint = SlabCheckpoint(isRunning: true, slotCount: slotCount)
            guard let states = slabStates else { return }
            for slab in 0..<Self.slabCount(slots: checkpoint.slotCount, strideBytes: strideBytes)
            where states[slab].load(ordering: .relaxed) & SlabState.dirty != 0 {
                states[slab].store(SlabState.pending, ordering: .releasing)
                checkpoint.slabs.append(slab)
            }
        }
    }

    /// The slabs the running checkpoint has to save, ascending, and the slots there were when it began.
    var checkpointExtent: (isRunning: Bool, slabs: [Int], slotCount: Int) {
        checkpoint.withLock { ($0.isRunning, $0.slabs, $0.slotCount) }
    }

    /// The next pending slab and its image as of `beginCheckpoint`; nil when all were handed out. One thread drains.
    /// The image is the caller's until it is handed to `recycle`.
    func nextPendingImage() -> (slab: Int, image: SlabImage)? {
        let next: Int? = checkpoint.withLock { checkpoint in
            guard checkpoint.drained < checkpoint.slabs.count else { return nil }
            defer { checkpoint.drained += 1 }
            return checkpoint.slabs[checkpoint.drained]
        }
        guard let slab = next, let states = slabStates else { return nil }
        let address = base + slab * Self.slabBytes
        let image = sideImages.withStripe(slab) { stripe in
            if let saved = stripe.saved.removeValue(forKey: slab) { return saved }
            // Still pending: no writer may go on before this copy is made, since leaving the state takes this lock.
            let image = sideImages.takeBuffer()
            image.copy(from: address)
            _ = states[slab].bitwiseAnd(~SlabState.pending, ordering: .acquiringAndReleasing)
            return image
        }
        return (slab, image)
    }

    func recycle(_ image: SlabImage) { sideImages.giveBack(image) }

    /// The images are safe: forgets the checkpoint.
    func finishCheckpoint() { endCheckpoint(markDirty: false) }

    /// The images came to nothing: every slab of the checkpoint is dirty again, so the next one saves it.
    public func abandonCheckpoint() { endCheckpoint(markDirty: true) }

    private func endCheckpoint(markDirty: Bool) {
        let slabs = checkpoint.withLock { checkpoint in
            precondition(markDirty || checkpoint.drained == checkpoint.slabs.count, "slabs of the checkpoint were not drained")
            defer { checkpoint = SlabCheckpoint() }
            return checkpoint.slabs
        }
        guard let states = slabStates else { return }
        for slab in slabs {
            sideImages.withStripe(slab) { stripe in
                stripe.saved[slab] = nil
                if markDirty { states[slab].store(SlabState.dirty, ordering: .releasing) }
            }
        }
    }
}
