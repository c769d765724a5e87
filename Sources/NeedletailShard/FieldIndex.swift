internal import NeedletailCore
internal import NeedletailIndex
internal import NeedletailStorage
internal import NeedletailVectors
internal import Synchronization

/// One vector field of a replica: its graph and the slab arrays that the graph lives in.
final class FieldIndex: Sendable {
    let graph: HNSWIndex
    private let number: Int
    private let capacity: Int
    private let uncoded: [SlabArray]
    private let coding = Mutex(Coding())

    /// The codes of one model and how far they are: slots below `bound` were stored before it came, those below `next` of them have been
    /// encoded since.
    private struct Codes {
        let slab: SlabArray
        var mark: CodecMark
    }

    /// Changed by the applier only.
    private struct Coding {
        /// What the graph walks on.
        var walked: Codes?
        /// What is being made.
        var coming: Codes?
        var all: [Codes] { [walked, coming].compactMap(\.self) }
    }

    /// `folder` is where the vectors lie when the field's spec leaves them in a file.
    init(field: VectorField, number: Int, capacity: Int, folder: SlabFolder) {
        self.number = number
        self.capacity = capacity
        let strides = GraphMemory.strides(field: field)
        let rows = SlabArray(
            name: "field-\(number)-rows", strideBytes: strides.rows, capacity: capacity, usesHugePages: true,
            folder: field.index.rescore.source == .file ? folder : nil)
        let links = SlabArray(name: "field-\(number)-links", strideBytes: strides.links, capacity: capacity, usesHugePages: true)
        let nodes = SlabArray(name: "field-\(number)-nodes", strideBytes: strides.nodes, capacity: capacity)
        let upper = SlabArray(
            name: "field-\(number)-upper", strideBytes: strides.upper, capacity: GraphMemory.upperCapacity(field: field, slots: capacity))
        uncoded = [rows, links, nodes, upper]
        let memory = GraphMemory(
            rows: SlabSlotMemory(rows), links: SlabSlotMemory(links), nodes: SlabSlotMemory(nodes), upper: SlabSlotMemory(upper))
        graph = HNSWIndex(field: field, memory: memory, capacity: capacity)
    }

    var slabs: [SlabArray] { uncoded + coding.withLock { $0.all.map(\.slab) } }

    /// Where the codes of a model of this version belong.
    func codes(version: UInt64, codec: any RowCodec) -> SlabArray {
        SlabArray(name: "field-\(number)-codes-\(version)", strideBytes: codec.strideBytes, capacity: capacity, usesHugePages: true)
    }

    /// The state of the codes: those that are walked on first, then those being made.
    var codecMarks: [CodecMark] { coding.withLock { $0.all.map(\.mark) } }

    /// Of the newest model taken; 0 before there is one.
    var newestVersion: UInt64 { codecMarks.last?.version ?? 0 }

    /// Version of the codec that the graph walks on; 0 while it walks on the vectors themselves.
    var walkedVersion: UInt64 { coding.withLock { $0.walked?.mark.version ?? 0 } }

    var isEncoding: Bool { coding.withLock { $0.coming != nil } }

    /// How far the codes are; nil for a field without a codec.
    /// - Parameter slots: places for points there are. Those from the mark's bound on were written in both forms.
    func codecProgress(slots: Int) -> CodecProgress? {
        guard graph.field.index.needsTraining else { return nil }
        guard let mark = codecMarks.last else { return CodecProgress() }
        let total = max(slots, mark.bound)
        return CodecProgress(version: mark.version, encoded: UInt64(total - mark.bound + mark.next), total: UInt64(total))
    }

    /// The codec that a model is for.
    /// - Throws: `dataLoss` when the model is damaged or another field's.
    func codec(_ model: FieldModel) throws(NeedletailError) -> any RowCodec {
        let learned = try CodecModel(encoded: model.bytes)
        let field = graph.field
        guard learned.codec == field.index.codec, learned.metric == field.metric, learned.transform.inputDimensions == field.dimensions else {
            throw NeedletailError(.dataLoss, "the codec model of field \"\(field.name)\" is for another kind of field")
        }
        return learned.rowCodec()
    }

    /// Writes codes beside what is there from now on. No write is under way, none are being made. `slab` holds what `mark` says.
    /// - Returns: as `encoded(upTo:)`.
    /// - Throws: `resourceExhausted` when there is no memory for them.
    @discardableResult func beginCodec(_ codec: any RowCodec, slab: SlabArray, mark: CodecMark) throws(NeedletailError) -> Bool {
        try graph.beginCodec(codec, codes: SlabSlotMemory(slab))
        coding.withLock { $0.coming = Codes(slab: slab, mark: mark) }
        return encoded(upTo: mark.next)
    }

    /// The next slots to encode, at most `count`.
    func slotsToEncode(_ count: Int) -> Range<Int> {
        coding.withLock { $0.coming.map { $0.mark.next..<min($0.mark.bound, $0.mark.next + count) } ?? 0..<0 }
    }

    /// Slots below `slot` have been encoded. With the last of them the graph walks on the new codes.
    /// - Returns: whether it walked on others before, which it is to let go of when every search that might be on them has ended.
    @discardableResult func encoded(upTo slot: Int) -> Bool {
        let isDone = coding.withLock { coding in
            coding.coming?.mark.next = slot
            guard let coming = coding.coming, coming.mark.isDone else { return false }
            coding = Coding(walked: coming)
            return true
        }
        return isDone ? graph.adoptCodec() : false
    }
}

/// How far the codes of a field are, as checkpoints keep it.
struct CodecMark: Equatable {
    /// The model's; never 0.
    var version: UInt64
    var next: Int
    var bound: Int

    var isDone: Bool { next >= bound }
}
