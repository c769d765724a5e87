/// The slots a walk has seen: one bit a slot, small enough to stay in the second-level cache, cleared by undoing what was set.
struct VisitedSlots: ~Copyable {
    /// Owned: `wordCount` words, all zero between walks. A gather kernel sets bits too, and tells with `note`.
    private(set) var words: UnsafeMutablePointer<UInt64>
    private var wordCount: Int
    /// Owned: the slots that were set, as far as they fit; beyond, clearing wipes everything.
    private var log: UnsafeMutablePointer<UInt32>
    private var logCount = 0
    private static let logCapacity = 1 << 15

    init() {
        wordCount = 1
        words = .allocate(capacity: 1)
        words.initialize(to: 0)
        log = .allocate(capacity: Self.logCapacity)
    }

    deinit {
        words.deallocate()
        log.deallocate()
    }

    /// Makes room for slots 0 ..< `slots`. Only between walks.
    mutating func ensureCapacity(slots: Int) {
        let needed = (slots + 63) / 64
        guard needed > wordCount else { return }
        words.deallocate()
        wordCount = needed + needed / 2
        words = .allocate(capacity: wordCount)
        words.initialize(repeating: 0, count: wordCount)
    }

    /// Marks the slot; false when it was marked before. `slot` lies below the ensured capacity (the walk checks what it reads).
    @inline(__always) mutating func insert(_ slot: UInt32) -> Bool {
        let index = Int(slot &>> 6)
        let bit: UInt64 = 1 &<< UInt64(slot & 63)
        let word = words[index]
        if word & bit != 0 { return false }
        words[index] = word | bit
        if logCount < Self.logCapacity { log[logCount] = slot }
        logCount &+= 1
        return true
    }

    @inline(__always) func contains(_ slot: UInt32) -> Bool { words[Int(slot &>> 6)] &>> UInt64(slot & 63) & 1 != 0 }

    /// Slots whose bits were set through `words`.
    @inline(__always) mutating func note(_ slots: UnsafePointer<UInt32>, count: Int) {
        if logCount &+ count <= Self.logCapacity { (log + logCount).update(from: slots, count: count) }
        logCount &+= count
    }

    mutating func clear() {
        // Undoing costs about as much a slot as wiping does a cache line.
        if logCount <= Self.logCapacity, logCount * 8 < wordCount {
            for index in 0..<logCount { words[Int(log[index] &>> 6)] = 0 }
        } else {
            words.update(repeating: 0, count: wordCount)
        }
        logCount = 0
    }

    @inline(__always) var slotCapacity: Int { wordCount &* 64 }
}
