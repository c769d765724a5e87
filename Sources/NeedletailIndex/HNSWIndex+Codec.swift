public import NeedletailCore
public import NeedletailVectors
internal import Synchronization

// Taking to a codec while searches and writes go on: from `beginCodec` on new vectors are written in both forms, `encode` brings the
// older ones up, and with `adoptCodec` the graph walks on codes. The links stay: they join the same points.
extension HNSWIndex {
    /// The codec and the memory for its rows, and whether walks use them.
    struct Coding {
        var codec: (any RowCodec)?
        var codes: (any SlotMemory)?
        var isAdopted = true
    }

    /// The codec that the graph walks on; nil while it walks on the vectors themselves.
    public var codec: (any RowCodec)? { coding.withLock { $0.isAdopted ? $0.codec : nil } }

    /// Begins to write codes beside vectors. The graph has no codec so far; no `store` is under way.
    /// - Throws: `resourceExhausted` when there is no memory for the codes.
    public func beginCodec(_ codec: any RowCodec, codes: any SlotMemory) throws(NeedletailError) {
        try codes.ensureCapacity(slots: slotBound.load(ordering: .acquiring))
        coding.withLock {
            precondition($0.codec == nil, "the graph has a codec already")
            $0 = Coding(codec: codec, codes: codes, isAdopted: false)
        }
    }

    /// Writes the codes of slots that were stored before `beginCodec`. On any number of threads for different slots, beside searches; not
    /// beside a `store` of the same slots.
    public func encode(slots: Range<Int>, scratch: inout SearchScratch) {
        let coding = coding.withLock { $0 }
        guard let pointers, let codec = coding.codec, let codes = coding.codes else { return }
        for slot in slots where pointers.level(UInt32(slot)) >= 0 {
            encode(distance.floats(distance.load(pointers.row(UInt32(slot))).bytes), slot: UInt32(slot), codec, codes, scratch: &scratch)
        }
    }

    /// Makes searches and insertions walk on the codes: every slot below `slotBound` that has a node has been encoded.
    public func adoptCodec() {
        coding.withLock {
            guard $0.codec != nil, !$0.isAdopted else { return }
            $0.isAdopted = true
            if pointers != nil { usePointers(codec: $0.codec, codes: $0.codes) }
        }
    }

    func encode(_ values: [Float], slot: UInt32, _ codec: any RowCodec, _ codes: any SlotMemory, scratch: inout SearchScratch) {
        scratch.prepare(slots: 0, queryBytes: codec.scratchBytes)
        codes.willWrite(slot: Int(slot))
        values.withUnsafeBufferPointer {
            codec.encode(
                $0.baseAddress.unsafelyUnwrapped, at: codes.base + Int(slot) * codec.strideBytes, scratch: scratch.query.pointer)
        }
    }
}
