/// The slots a walk has seen: one bit a slot, small enough to stay in the second-level cache, cleared by undoing what was set.
struct VisitedSlots: ~Copyable {
    /// Owned: `wordCount` words, all zero between walks.
    private var words: UnsafeMutablePointer<UInt64>
    private var wordCount: Int
    /// Words touched by this walk, as far as they fit; beyond, clearing wipes everything.
    private var touched: UnsafeMutablePointer<UInt32>
    private var touchedCount = 0
    private static let touchedCapacity = 1 << 15

    init() {
        wordCount = 1
        words = .allocate(capacity: 1)
        words.initialize(to: 0)
        touched = .allocate(capacity: Self.touchedCapacity)
    }

    deinit {
        words.deallocate()
        touched.deallocate()
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
        if word == 0, touchedCount < Self.touchedCapacity {
            touched[touchedCount] = UInt32(truncatingIfNeeded: index)
            touchedCount &+= 1
        }
        words[index] = word | bit
        return true
    }

    mutating func clear() {
        if touchedCount < Self.touchedCapacity, touchedCount * 8 < wordCount {
            for index in 0..<touchedCount { words[Int(touched[index])] = 0 }
        } else {
            words.update(repeating: 0, count: wordCount)
        }
        touchedCount = 0
    }

    @inline(__always) func contains(_ slot: UInt32) -> Bool { words[Int(slot &>> 6)] &>> UInt64(slot & 63) & 1 != 0 }
    @inline(__always) var slotCapacity: Int { wordCount &* 64 }
}
