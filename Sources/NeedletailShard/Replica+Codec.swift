internal import NeedletailCore
internal import NeedletailIndex
internal import NeedletailStorage
internal import NeedletailVectors
internal import Synchronization

// From vectors to codes. A model comes from the coordinator and is put beside the replica's data; from then on new points are written
// in both forms, and the applier encodes the older ones in steps between its groups. When all are, the graph walks on codes. Answers
// are right all the while: only the order in which a walk looks at points depends on codes, never a score.
extension Replica {
    /// A model and its codec.
    struct TrainedCodec: Sendable {
        let model: FieldModel
        let codec: any RowCodec
    }

    private func modelPath(_ field: Int) -> String { "\(directory)/codec-\(field)" }

    /// Takes a model that the collection has been given. One is kept for the life of a replica.
    /// - Throws: `dataLoss` when it does not fit, what the disk says otherwise.
    func take(_ model: FieldModel) async throws {
        guard fields.indices.contains(model.field), fields[model.field].codecMark == nil, applier.failure == nil, !isClosing else { return }
        guard !queue.withLock({ $0.refused[model.field] != nil || $0.models.contains { $0.model.field == model.field } }) else { return }
        let trained = TrainedCodec(model: model, codec: try fields[model.field].codec(model))
        let (disk, path) = (resources.disk, modelPath(model.field))
        var writer = ByteWriter()
        model.encode(to: &writer)
        let bytes = writer.bytes
        // First on disk: a checkpoint with codes must find the model they are of.
        try await resources.modelPool.run { _ in try disk.replaceChecked(path, with: bytes) }
        begin { $0.models.append(trained) }
    }

    /// Changes what the applier has to do, and starts it if it rests.
    private func begin(_ change: (inout ApplyQueue) -> Void) {
        let mustStart = queue.withLock { queue in
            change(&queue)
            defer { queue.isRunning = true }
            return !queue.isRunning
        }
        if mustStart { startApplier() }
    }

    /// Called on the clock: there may be memory now for codes that there was none for.
    func offerRefusedModels() {
        guard applier.failure == nil, !isClosing, queue.withLock({ !$0.refused.isEmpty && $0.models.isEmpty }) else { return }
        begin { queue in queue.models += queue.refused.values.map(\.trained) }
    }

    /// How far the codecs are, by field.
    func codecProgress() -> [Int: CodecProgress] {
        let slots = points.slab.slotCount
        var progress: [Int: CodecProgress] = [:]
        for (number, field) in fields.enumerated() { progress[number] = field.codecProgress(slots: slots) }
        for (number, refused) in queue.withLock({ $0.refused }) {
            progress[number] = CodecProgress(
                version: refused.trained.model.version, encoded: 0, total: UInt64(max(1, slots)),
                problem: "no memory for codes, the graph walks on the vectors: \(refused.reason.message)")
        }
        return progress
    }

    /// The models beside the replica's data. One that cannot be read is left out: the coordinator sends it again.
    func storedModels() -> [Int: TrainedCodec] {
        var models: [Int: TrainedCodec] = [:]
        for (number, field) in fields.enumerated() where field.graph.field.index.needsTraining {
            guard let bytes = try? resources.disk.readChecked(modelPath(number)) else { continue }
            var reader = ByteReader(bytes)
            guard let model = try? FieldModel(from: &reader), model.field == number, let codec = try? field.codec(model) else { continue }
            models[number] = TrainedCodec(model: model, codec: codec)
        }
        return models
    }

    /// Begins to write codes of models that have come. Between two groups.
    func beginCodecs(_ models: [TrainedCodec]) {
        for trained in models where fields[trained.model.field].codecMark == nil {
            let field = fields[trained.model.field]
            let mark = CodecMark(version: trained.model.version, next: 0, bound: points.slotBound)
            do throws(NeedletailError) {
                try resources.configuration.admitCodes(mark.bound * trained.codec.strideBytes)
                try field.beginCodec(trained.codec, slab: field.codes(version: mark.version, codec: trained.codec), mark: mark)
                applier.noteChanges(1)
                queue.withLock { $0.refused[trained.model.field] = nil }
            } catch {
                // The graph goes on with the vectors; the status says so.
                queue.withLock { $0.refused[trained.model.field] = (trained, error) }
            }
        }
    }

    /// Whether the applier has older points to encode.
    var isEncoding: Bool { !isClosing && applier.failure == nil && fields.contains { $0.isEncoding } }

    /// Encodes the next older points, so many that writes wait for milliseconds only.
    func stepEncoding(scratch: inout SearchScratch) {
        guard isEncoding else { return }
        for field in fields where field.isEncoding {
            let slots = field.slotsToEncode(resources.configuration.repairStep)
            let block = 256
            resources.buildPool.parallel((slots.count + block - 1) / block, scratch: &scratch) { [graph = field.graph] index, scratch in
                let begin = slots.lowerBound + index * block
                graph.encode(slots: begin..<min(slots.upperBound, begin + block), scratch: &scratch)
            }
            field.encoded(upTo: slots.upperBound)
            applier.noteChanges(1)
        }
    }

    /// Goes on with what a restart interrupted.
    func resumeEncoding() {
        if isEncoding { begin { _ in } }
    }
}

/// The codes of a checkpoint that is being loaded.
struct SavedCodes {
    /// Arrays to load into that belong to a field.
    private var codes: [Int: SlabArray] = [:]
    /// All arrays of codes in the checkpoint. Those that no model goes with are loaded and forgotten: they are made again.
    private(set) var slabs: [SlabArray] = []

    init(_ manifest: Manifest, state: CheckpointState, fields: [FieldIndex], models: [Int: Replica.TrainedCodec]) {
        var wanted: [String: (field: Int, slab: SlabArray)] = [:]
        for (number, trained) in models where state.codecs[number]?.version == trained.model.version {
            let slab = fields[number].codes(version: trained.model.version, codec: trained.codec)
            wanted[slab.name] = (number, slab)
        }
        for saved in manifest.arrays where saved.name.contains("-codes-") {
            if let (field, slab) = wanted[saved.name], slab.strideBytes == saved.strideBytes {
                codes[field] = slab
                slabs.append(slab)
            } else {
                slabs.append(SlabArray(name: saved.name, strideBytes: saved.strideBytes, capacity: saved.slotCount))
            }
        }
    }

    init() {}

    subscript(field: Int) -> SlabArray? { codes[field] }
}
