internal import NeedletailCore
internal import NeedletailIndex
internal import NeedletailStorage
internal import NeedletailVectors
internal import Synchronization

// From vectors to codes, and from codes to those of a later model. A model comes from the coordinator and is put beside the replica's data;
// from then on new points are written in that form too, and the applier encodes the older ones in steps between its groups. When all are,
// the graph walks on them. Answers are right all the while: only the order in which a walk looks at points depends on codes, never a score.
extension Replica {
    /// A model and its codec.
    struct TrainedCodec: Sendable {
        let model: FieldModel
        let codec: any RowCodec
    }

    static let modelPrefix = "codec-"

    /// Takes a model that the collection has been given. One at a time: while older points are being encoded a later one has to wait.
    /// - Throws: `dataLoss` when it does not fit, what the disk says otherwise.
    func take(_ model: FieldModel) async throws {
        guard fields.indices.contains(model.field), applier.failure == nil, !isClosing else { return }
        guard fields[model.field].newestVersion < model.version, !fields[model.field].isEncoding else { return }
        guard !queue.withLock({ $0.refused[model.field] != nil || $0.models.contains { $0.model.field == model.field } }) else { return }
        let trained = TrainedCodec(model: model, codec: try fields[model.field].codec(model))
        let (disk, path) = (resources.disk, "\(directory)/\(Self.modelPrefix)\(model.field)-\(model.version)")
        var writer = ByteWriter()
        model.encode(to: &writer)
        let bytes = writer.bytes
        // First on disk: a checkpoint with codes must find the model they are of.
        try await resources.modelPool.run { _ in try disk.replaceChecked(path, with: bytes) }
        begin { $0.models.append(trained) }
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
            let walked = fields[number].walkedVersion
            progress[number] = CodecProgress(
                version: refused.trained.model.version, encoded: 0, total: UInt64(max(1, slots)),
                problem: "no memory for codes, the graph walks on \(walked == 0 ? "the vectors" : "version \(walked)"): \(refused.reason.message)")
        }
        return progress
    }

    /// The models beside the replica's data, by field and then by version. One that cannot be read is left out: the coordinator sends it again.
    func storedModels() throws -> [Int: [TrainedCodec]] {
        var models: [Int: [TrainedCodec]] = [:]
        for name in try resources.disk.list(directory) where modelName(name) != nil {
            guard let bytes = try? resources.disk.readChecked(directory + "/" + name) else { continue }
            var reader = ByteReader(bytes)
            guard let model = try? FieldModel(from: &reader), fields.indices.contains(model.field), let codec = try? fields[model.field].codec(model)
            else { continue }
            models[model.field, default: []].append(TrainedCodec(model: model, codec: codec))
        }
        return models.mapValues { $0.sorted { $0.model.version < $1.model.version } }
    }

    /// What a file's name says of the model in it.
    func modelName(_ name: String) -> (field: Int, version: UInt64)? {
        guard name.hasPrefix(Self.modelPrefix) else { return nil }
        let parts = name.dropFirst(Self.modelPrefix.count).split(separator: "-")
        guard let field = parts.first.flatMap({ Int($0) }), fields.indices.contains(field) else { return nil }
        // Before there were several, a model had no version in its name.
        if parts.count == 1 { return (field, 1) }
        return parts.count == 2 ? UInt64(parts[1]).map { (field, $0) } : nil
    }

    /// Removes models that neither the graphs nor the checkpoint on disk have codes of any more.
    /// - Parameter marks: those of the checkpoint, by field.
    func removeOldModels(_ marks: [[CodecMark]]) {
        guard marks.contains(where: { ($0.first?.version ?? 0) > 1 }), let names = try? resources.disk.list(directory) else { return }
        for name in names {
            guard let model = modelName(name), let oldest = marks[model.field].first, oldest.isDone, model.version < oldest.version else { continue }
            // One that stays takes space only.
            try? resources.disk.removeFile(directory + "/" + name)
        }
    }

    /// Begins to write codes of models that have come. Between two groups.
    func beginCodecs(_ models: [TrainedCodec]) {
        for trained in models where fields[trained.model.field].newestVersion < trained.model.version && !fields[trained.model.field].isEncoding {
            let field = fields[trained.model.field]
            let mark = CodecMark(version: trained.model.version, next: 0, bound: points.slotBound)
            do throws(NeedletailError) {
                try resources.configuration.admitCodes(mark.bound * trained.codec.strideBytes)
                if try field.beginCodec(trained.codec, slab: field.codes(version: mark.version, codec: trained.codec), mark: mark) {
                    applier.formerCodes = resources.markReaders()
                }
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
            if field.encoded(upTo: slots.upperBound) { applier.formerCodes = resources.markReaders() }
            applier.noteChanges(1)
        }
    }

    /// Lets go of codes that graphs walked on before, once no search can be on them.
    func releaseFormerCodes() {
        guard let mark = applier.formerCodes else { return }
        guard resources.readersHavePassed(mark) else { return DedicatedThread.sleep(.microseconds(200)) }
        for field in fields { field.graph.releaseFormerCodes() }
        applier.formerCodes = nil
    }

    /// Goes on with what a restart interrupted.
    func resumeEncoding() {
        if isEncoding || applier.formerCodes != nil { begin { _ in } }
    }
}

/// The codes of a checkpoint that is being loaded.
struct SavedCodes {
    /// Codes to load, with what they are of: those to walk on before those being made.
    private(set) var wanted: [(trained: Replica.TrainedCodec, slab: SlabArray, mark: CodecMark)] = []
    /// All arrays of codes in the checkpoint. Those that no model goes with are loaded and forgotten: they are made again.
    private(set) var slabs: [SlabArray] = []

    init(_ manifest: Manifest, state: CheckpointState, fields: [FieldIndex], models: [Int: [Replica.TrainedCodec]]) {
        var strides = Dictionary(
            manifest.arrays.filter { $0.name.contains("-codes-") }.map { ($0.name, (stride: $0.strideBytes, count: $0.slotCount)) }) { $1 }
        for (number, models) in models.sorted(by: { $0.key < $1.key }) {
            for (trained, mark) in Self.choose(models, state.codecs[number]) {
                let slab = fields[number].codes(version: mark.version, codec: trained.codec)
                guard strides[slab.name]?.stride == slab.strideBytes else { continue }
                strides[slab.name] = nil
                wanted.append((trained, slab, mark))
                slabs.append(slab)
            }
        }
        slabs += strides.map { SlabArray(name: $0.key, strideBytes: $0.value.stride, capacity: $0.value.count) }
    }

    /// Of a field's models those whose codes are worth loading: the newest's, and while they are not all there, or not at all, those of an
    /// earlier one that are. What is half made of an earlier one is given up.
    private static func choose(_ models: [Replica.TrainedCodec], _ marks: [CodecMark]) -> [(Replica.TrainedCodec, CodecMark)] {
        let saved = models.compactMap { trained in marks.first { $0.version == trained.model.version }.map { (trained, $0) } }
        let newest = saved.last.flatMap { $0.0.model.version == models.last?.model.version ? $0 : nil }
        if let newest, newest.1.isDone { return [newest] }
        let whole = saved.last { $0.1.isDone }
        return [whole, newest].compactMap(\.self)
    }
}
