public import NeedletailCore
public import NeedletailVectors
internal import Synchronization

// Taking to a codec, or from one to another, while searches and writes go on: from `beginCodec` on new vectors are written in the new
// form too, `encode` brings the older ones up, and with `adoptCodec` the graph walks on the new codes. The links stay: they join the same
// points.
extension HNSWIndex {
    /// A codec and the memory for its rows.
    struct Codes {
        let codec: any RowCodec
        let memory: any SlotMemory
    }

    struct Coding {
        /// What walks are on; nil while they are on the vectors themselves.
        var walked: Codes?
        /// What is being written, to be walked on later.
        var coming: Codes?
        /// What walks were on before: one under way may still be.
        var former: [Codes] = []
        /// What a new vector is written in beside itself.
        var written: [Codes] { [walked, coming].compactMap(\.self) }
    }

    /// The codec that the graph walks on; nil while it walks on the vectors themselves.
    public var codec: (any RowCodec)? { coding.withLock { $0.walked?.codec } }

    /// Begins to write codes beside what is there. None are being made; no `store` is under way.
    /// - Throws: `resourceExhausted` when there is no memory for the codes.
    public func beginCodec(_ codec: any RowCodec, codes: any SlotMemory) throws(NeedletailError) {
        try codes.ensureCapacity(slots: slotBound.load(ordering: .acquiring))
        coding.withLock {
            precondition($0.coming == nil, "codes are being made already")
            $0.coming = Codes(codec: codec, memory: codes)
        }
    }

    /// Writes the codes of slots that were stored before `beginCodec`. On any number of threads for different slots, beside searches; not
    /// beside a `store` of the same slots.
    public func encode(slots: Range<Int>, scratch: inout SearchScratch) {
        guard let pointers, let coming = coding.withLock({ $0.coming }) else { return }
        for slot in slots where pointers.level(UInt32(slot)) >= 0 {
            encode(distance.floats(distance.load(pointers.row(UInt32(slot))).bytes), slot: UInt32(slot), coming, scratch: &scratch)
        }
    }

    /// Makes searches and insertions walk on the codes begun: every slot below `slotBound` that has a node has been encoded.
    /// - Returns: whether walks were on other codes before: then `releaseFormerCodes` must follow.
    @discardableResult public func adoptCodec() -> Bool {
        coding.withLock {
            guard let coming = $0.coming else { return false }
            if let walked = $0.walked { $0.former.append(walked) }
            ($0.walked, $0.coming) = (coming, nil)
            if pointers != nil { usePointers(coming) }
            return !$0.former.isEmpty
        }
    }

    /// Lets go of codes that walks were on before. Every operation that began before `adoptCodec` has ended.
    public func releaseFormerCodes() {
        coding.withLock { $0.former = [] }
        releaseFormerPointers()
    }

    func encode(_ values: [Float], slot: UInt32, _ codes: Codes, scratch: inout SearchScratch) {
        let codec = codes.codec
        scratch.prepare(slots: 0, queryBytes: codec.scratchBytes)
        codes.memory.willWrite(slot: Int(slot))
        values.withUnsafeBufferPointer {
            codec.encode(
                $0.baseAddress.unsafelyUnwrapped, at: codes.memory.base + Int(slot) * codec.strideBytes, scratch: scratch.query.pointer)
        }
    }
}
