import CNeedletailMessages
import CProtobufC
import NeedletailCore

extension IndexSpec {
    /// What a field's `index` and `graph` say together; either may be missing.
    init(
        _ message: UnsafePointer<Needletail__V1__IndexSpec>?, graph: UnsafePointer<Needletail__V1__GraphParameters>?, field: String
    ) throws(NeedletailError) {
        self.init()
        if let message {
            let parts = try IndexSpec(parts: message, field: field)
            let text = string(message.pointee.spec)
            if text.isEmpty {
                self = parts
            } else {
                self = try IndexSpec(text: text)
                var stages = self
                stages.graph = GraphParameters()
                guard parts == IndexSpec() || parts == stages else {
                    throw NeedletailError(
                        .invalidArgument,
                        "field \"\(field)\": the index is \"\(self)\" by its text and \"\(parts)\" by its parts; give one of them, or the same in both")
                }
            }
            try self.graph.take(message.pointee.graph, field: field)
        }
        try self.graph.take(graph, field: field)
    }

    /// All but the text and the graph.
    private init(parts message: UnsafePointer<Needletail__V1__IndexSpec>, field: String) throws(NeedletailError) {
        let name = string(message.pointee.codec)
        guard let codec = name.isEmpty ? .asGiven : CodecSpec(name: name) else {
            throw NeedletailError(.invalidArgument, "field \"\(field)\": codec \"\(name)\" is unknown to this version")
        }
        self.init(
            transform: TransformSpec(message.pointee.transform), codec: codec, rescore: try RescoreSpec(message.pointee.rescore, field: field))
    }
}

extension TransformSpec {
    fileprivate init(_ message: UnsafePointer<Needletail__V1__TransformSpec>?) {
        self.init()
        guard let transform = message?.pointee else { return }
        prefix = transform.prefix == 0 ? nil : Int(transform.prefix)
        centre = transform.centre != 0
        switch transform.map_case {
        case NEEDLETAIL__V1__TRANSFORM_SPEC__MAP_ROTATION_SEED: map = .rotation(seed: transform.rotation_seed)
        case NEEDLETAIL__V1__TRANSFORM_SPEC__MAP_PCA: map = .pca(Int(transform.pca))
        case NEEDLETAIL__V1__TRANSFORM_SPEC__MAP_LEANVEC:
            let leanVec = transform.leanvec?.pointee
            map = .leanVec(Int(leanVec?.dimensions ?? 0), queryAware: leanVec?.query_aware ?? 0 != 0)
        case NEEDLETAIL__V1__TRANSFORM_SPEC__MAP_WHITENING: map = .whitening(Int(transform.whitening))
        case NEEDLETAIL__V1__TRANSFORM_SPEC__MAP_FOURIER: map = .fourier(Int(transform.fourier))
        default: map = .none
        }
    }
}

extension RescoreSpec {
    fileprivate init(_ message: UnsafePointer<Needletail__V1__RescoreSpec>?, field: String) throws(NeedletailError) {
        self.init()
        guard let rescore = message?.pointee else { return }
        guard let raw = UInt8(exactly: rescore.source.rawValue), let source = Source(rawValue: raw) else {
            throw NeedletailError(.invalidArgument, "field \"\(field)\": rescore source \(rescore.source.rawValue) is unknown to this version")
        }
        self.init(count: rescore.count == 0 ? nil : Int(rescore.count), source: source)
    }
}

extension GraphParameters {
    /// Takes the values that a message gives, where none was given so far.
    fileprivate mutating func take(_ message: UnsafePointer<Needletail__V1__GraphParameters>?, field: String) throws(NeedletailError) {
        guard let given = message?.pointee else { return }
        let usual = GraphParameters()
        func agreed<Value: BinaryInteger>(_ name: String, _ present: Value, _ usual: Value, _ given: Value) throws(NeedletailError) -> Value {
            if given == 0 || given == present { return present }
            guard present == usual else {
                throw NeedletailError(
                    .invalidArgument, "field \"\(field)\": \(name) is given as \(present) and as \(given); give it once, or the same in both places")
            }
            return given
        }
        m = try agreed("m", m, usual.m, Int(given.m))
        efConstruction = try agreed("ef_construction", efConstruction, usual.efConstruction, Int(given.ef_construction))
        seed = try agreed("seed", seed, usual.seed, given.seed)
    }
}

extension MessageArena {
    func graph(_ graph: GraphParameters) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__V1__GraphParameters> {
        let message = try make(Needletail__V1__GraphParameters.self)
        message.pointee.m = UInt32(clamping: graph.m)
        message.pointee.ef_construction = UInt32(clamping: graph.efConstruction)
        message.pointee.seed = graph.seed
        return message
    }

    func index(_ index: IndexSpec) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__V1__IndexSpec> {
        let message = try make(Needletail__V1__IndexSpec.self)
        message.pointee.spec = try text(index.description)
        message.pointee.transform = try transform(index.transform)
        message.pointee.graph = try graph(index.graph)
        message.pointee.codec = try text(index.codec.name)
        let rescore = try make(Needletail__V1__RescoreSpec.self)
        rescore.pointee.count = UInt32(clamping: index.rescore.count ?? 0)
        rescore.pointee.source = Needletail__V1__RescoreSource(rawValue: UInt32(index.rescore.source.rawValue))
        message.pointee.rescore = rescore
        return message
    }

    private func transform(_ transform: TransformSpec) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__V1__TransformSpec> {
        let message = try make(Needletail__V1__TransformSpec.self)
        message.pointee.prefix = UInt32(clamping: transform.prefix ?? 0)
        message.pointee.centre = transform.centre ? 1 : 0
        switch transform.map {
        case .none: break
        case .rotation(let seed):
            message.pointee.map_case = NEEDLETAIL__V1__TRANSFORM_SPEC__MAP_ROTATION_SEED
            message.pointee.rotation_seed = seed
        case .pca(let count):
            message.pointee.map_case = NEEDLETAIL__V1__TRANSFORM_SPEC__MAP_PCA
            message.pointee.pca = UInt32(clamping: count)
        case .leanVec(let count, let queryAware):
            let leanVec = try make(Needletail__V1__LeanVec.self)
            leanVec.pointee.dimensions = UInt32(clamping: count)
            leanVec.pointee.query_aware = queryAware ? 1 : 0
            message.pointee.map_case = NEEDLETAIL__V1__TRANSFORM_SPEC__MAP_LEANVEC
            message.pointee.leanvec = leanVec
        case .whitening(let count):
            message.pointee.map_case = NEEDLETAIL__V1__TRANSFORM_SPEC__MAP_WHITENING
            message.pointee.whitening = UInt32(clamping: count)
        case .fourier(let count):
            message.pointee.map_case = NEEDLETAIL__V1__TRANSFORM_SPEC__MAP_FOURIER
            message.pointee.fourier = UInt32(clamping: count)
        }
        return message
    }
}
