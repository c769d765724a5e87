public import NeedletailCore

/// What was learned for one field: with it every replica of every shard writes the same codes. Belongs to the collection; kept as bytes.
public struct CodecModel: Sendable, Hashable {
    public let codec: CodecSpec
    public let metric: Metric
    public let transform: VectorTransform
    /// For product and residual quantisation.
    let codebooks: Codebooks?

    init(codec: CodecSpec, metric: Metric, transform: VectorTransform, codebooks: Codebooks? = nil) {
        self.codec = codec
        self.metric = metric
        self.transform = transform
        self.codebooks = codebooks
    }

    /// The codec, bound to the kernels of this processor.
    public func rowCodec(level: KernelLevel = .best) -> any RowCodec {
        switch codec {
        case .asGiven: preconditionFailure("vectors as given have no codec")
        case .f32: FloatCodec(metric: metric, width: .single, transform: transform, level: level)
        case .f16: FloatCodec(metric: metric, width: .half, transform: transform, level: level)
        case .lvq8: LVQCodec(metric: metric, bits: .eight, transform: transform, level: level)
        case .lvq4: LVQCodec(metric: metric, bits: .four, transform: transform, level: level)
        case .lvq4x8: LVQCodec(metric: metric, bits: .four, refinement: true, transform: transform, level: level)
        case .rabitq(let bits): RaBitQCodec(metric: metric, bits: bits, transform: transform, level: level)
        case .pq, .rq: codebookCodec(level: level)
        }
    }
}

extension CodecModel {
    /// With the books that a model of such a codec has.
    private func codebookCodec(level: KernelLevel) -> CodebookCodec {
        guard let codebooks else { preconditionFailure("a model of \(codec.name) has codebooks") }
        return CodebookCodec(metric: metric, codebooks: codebooks, transform: transform, level: level)
    }

    /// How well the centroids of each codebook are used when a sample is encoded; empty for codecs without codebooks.
    public func codebookHealth(of sample: VectorSample) -> [CodebookHealth] {
        guard codebooks != nil else { return [] }
        precondition(sample.dimensions == transform.inputDimensions, "a sample of the field's dimensions")
        return codebookCodec(level: .best).health(of: sample)
    }
}

extension CodecModel {
    private static let version: UInt8 = 1

    public var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.u8(Self.version)
        codec.encode(to: &writer)
        writer.u8(metric.rawValue)
        transform.encode(to: &writer)
        codebooks?.encode(to: &writer)
        return writer.bytes
    }

    /// - Throws: `dataLoss` when the bytes are damaged, `failedPrecondition` when a newer version wrote them.
    public init(encoded bytes: [UInt8]) throws(NeedletailError) {
        var reader = ByteReader(bytes)
        let version = try reader.u8()
        guard version == Self.version else {
            throw NeedletailError(
                .failedPrecondition, "a codec's parameters have format \(version), this build reads \(Self.version); upgrade this node")
        }
        let codec = try CodecSpec(from: &reader)
        guard codec != .asGiven, let metric = Metric(rawValue: try reader.u8()) else {
            throw NeedletailError(.dataLoss, "a codec's parameters are damaged: unknown codec or metric")
        }
        let transform = try VectorTransform(from: &reader)
        var codebooks: Codebooks?
        if codec.codebooks != nil { codebooks = try Codebooks(from: &reader, codec: codec, dimensions: transform.outputDimensions) }
        self.init(codec: codec, metric: metric, transform: transform, codebooks: codebooks)
        try reader.expectEnd()
    }
}

/// Learns a field's parameters from a sample of its vectors.
public enum CodecTraining {
    /// Vectors beyond which a sample changes little.
    public static let sampleCount = 20_000

    /// The vectors that a sample must have at least, for the spec of a field.
    public static func leastSample(_ field: VectorField) -> Int { field.index.leastSample }

    /// - Parameters:
    ///   - sample: vectors of the field, drawn evenly.
    ///   - queries: a sample of queries; only `leanvec(queries)` looks at them.
    /// - Throws: `invalidArgument` when the field has no codec or the sample is too small for it.
    public static func train(
        _ field: VectorField, sample: VectorSample, queries: VectorSample? = nil
    ) throws(NeedletailError) -> CodecModel {
        let spec = field.index
        guard spec.needsTraining else {
            throw NeedletailError(.invalidArgument, "field \"\(field.name)\" has no codec: there is nothing to train")
        }
        guard sample.dimensions == field.dimensions else {
            throw NeedletailError(
                .invalidArgument, "field \"\(field.name)\" has \(field.dimensions) dimensions, the sample \(sample.dimensions)")
        }
        let transform = try transform(spec, sample, queries, normalise: field.metric == .cosine)
        let codebooks = spec.codec.codebooks == nil ? nil : try Codebooks.train(spec.codec, transform: transform, sample: sample)
        return CodecModel(codec: spec.codec, metric: field.metric, transform: transform, codebooks: codebooks)
    }

    /// The transform that the spec names, and what the codec needs beside it: the mean taken off, a random rotation at the end.
    private static func transform(
        _ spec: IndexSpec, _ sample: VectorSample, _ queries: VectorSample?, normalise: Bool
    ) throws(NeedletailError) -> VectorTransform {
        let fitted = try fit(spec, sample, queries, VectorPreparation(prefix: spec.transform.prefix, normalise: normalise))
        return spec.codec.rotates ? try fitted.rotated(seed: TransformSpec.defaultSeed) : fitted
    }

    private static func fit(
        _ spec: IndexSpec, _ sample: VectorSample, _ queries: VectorSample?, _ preparation: VectorPreparation
    ) throws(NeedletailError) -> VectorTransform {
        let centres = spec.transform.centre || spec.codec.centres
        switch spec.transform.map {
        case .none:
            return centres
                ? try TransformFitting.centring(sample, preparation: preparation)
                : try VectorTransform(inputDimensions: sample.dimensions, preparation: preparation)
        case .rotation(let seed):
            return try TransformFitting.rotation(seed: seed, inputDimensions: sample.dimensions, sample: sample, preparation: preparation)
        case .pca(let count), .leanVec(let count, queryAware: false):
            return try TransformFitting.pca(sample, outputDimensions: count, preparation: preparation)
        case .leanVec(let count, queryAware: true):
            guard let queries else {
                throw NeedletailError(.invalidArgument, "leanvec\(count)(queries) is fitted to queries: give a sample of them, or write leanvec\(count)")
            }
            return try TransformFitting.leanVecQueryAware(
                base: sample, queries: queries, outputDimensions: count, preparation: preparation)
        case .whitening(let count):
            return try TransformFitting.whitening(sample, outputDimensions: count, preparation: preparation)
        case .fourier(let count):
            let waves = try TransformFitting.fourier(inputDimensions: sample.dimensions, outputDimensions: count, preparation: preparation)
            guard centres else { return waves }
            let mean = try TransformFitting.centring(sample, preparation: preparation).mean
            return try VectorTransform(inputDimensions: sample.dimensions, preparation: preparation, mean: mean, map: waves.map)
        }
    }
}
