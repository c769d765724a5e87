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
    private let coding = Mutex<Coding?>(nil)

    /// The codes of a field and how far they are: slots below `bound` were stored before the codec came, those below `next` of them
    /// have been encoded since. Changed by the applier only.
    private struct Coding {
        let slab: SlabArray
        var mark: CodecMark
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

    var slabs: [SlabArray] { coding.withLock { $0.map { uncoded + [$0.slab] } ?? uncoded } }

    /// Where the codes of a model of this version belong.
    func codes(version: UInt64, codec: any RowCodec) -> SlabArray {
        SlabArray(name: "field-\(number)-codes-\(version)", strideBytes: codec.strideBytes, capacity: capacity, usesHugePages: true)
    }

    /// The state of the codes; nil before there is a model.
    var codecMark: CodecMark? { coding.withLock { $0?.mark } }

    var isEncoding: Bool { codecMark.map { !$0.isDone } ?? false }

    /// How far the codes are; nil for a field without a codec.
    var codecProgress: CodecProgress? {
        guard graph.field.index.needsTraining else { return nil }
        return codecMark.map { CodecProgress(version: $0.version, encoded: UInt64($0.next), total: UInt64($0.bound)) } ?? CodecProgress()
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

    /// Writes codes beside vectors from now on. No write is under way. `slab` holds what `mark` says.
    /// - Throws: `resourceExhausted` when there is no memory for them.
    func beginCodec(_ codec: any RowCodec, slab: SlabArray, mark: CodecMark) throws(NeedletailError) {
        try graph.beginCodec(codec, codes: SlabSlotMemory(slab))
        coding.withLock { $0 = Coding(slab: slab, mark: mark) }
        if mark.isDone { graph.adoptCodec() }
    }

    /// The next slots to encode, at most `count`.
    func slotsToEncode(_ count: Int) -> Range<Int> {
        codecMark.map { $0.next..<min($0.bound, $0.next + count) } ?? 0..<0
    }

    /// Slots below `slot` have been encoded. With the last of them the graph walks on codes.
    func encoded(upTo slot: Int) {
        let isDone = coding.withLock { coding in
            coding?.mark.next = slot
            return coding?.mark.isDone ?? false
        }
        if isDone { graph.adoptCodec() }
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
