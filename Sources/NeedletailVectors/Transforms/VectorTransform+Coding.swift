public import NeedletailCore

/// The bytes of a transform: a version, the preparation, the mean, the map; floats as they are, so that a copy gives the same bits.
extension VectorTransform {
    private static let version: UInt8 = 1
    private enum MapCode { static let identity: UInt8 = 0, rotation: UInt8 = 1, matrix: UInt8 = 2 }
    private enum Flag { static let normalise: UInt8 = 1, mean: UInt8 = 2, prefix: UInt8 = 4, all: UInt8 = 7 }

    public func encode(to writer: inout ByteWriter) {
        writer.u8(Self.version)
        writer.varint(UInt64(inputDimensions))
        let flags = (preparation.normalise ? Flag.normalise : 0) | (mean != nil ? Flag.mean : 0) | (preparation.prefix != nil ? Flag.prefix : 0)
        writer.u8(flags)
        if let prefix = preparation.prefix { writer.varint(UInt64(prefix)) }
        for value in mean ?? [] { writer.f32(value) }
        switch map {
        case .identity: writer.u8(MapCode.identity)
        case .rotation(let rotation):
            writer.u8(MapCode.rotation)
            writer.u64(rotation.seed)
        case .matrix(let matrix):
            writer.u8(MapCode.matrix)
            writer.varint(UInt64(matrix.outputDimensions))
            for value in matrix.rows { writer.f32(value) }
        }
    }

    /// - Throws: `unimplemented` for a version of a later build, `dataLoss` when the bytes are damaged.
    public init(from reader: inout ByteReader) throws(NeedletailError) {
        let version = try reader.u8()
        guard version == Self.version else {
            throw NeedletailError(.unimplemented, "a transform of format \(version); this build reads format \(Self.version): update it")
        }
        let dimensions = try Self.dimensions(&reader)
        let flags = try reader.u8()
        guard flags & ~Flag.all == 0 else { throw Self.damaged("unknown flags \(flags)") }
        let prefix = flags & Flag.prefix != 0 ? try Self.dimensions(&reader) : nil
        let prepared = prefix ?? dimensions
        let mean = flags & Flag.mean != 0 ? try Self.floats(prepared, &reader) : nil
        do {
            let map = try Self.map(prepared, &reader)
            try self.init(
                inputDimensions: dimensions, preparation: VectorPreparation(prefix: prefix, normalise: flags & Flag.normalise != 0), mean: mean,
                map: map)
        } catch {
            // What `init` would blame on a caller is damage here.
            throw error.code == .invalidArgument ? Self.damaged(error.message, cause: error) : error
        }
    }

    private static func map(_ inputs: Int, _ reader: inout ByteReader) throws(NeedletailError) -> LinearMap {
        switch try reader.u8() {
        case MapCode.identity: return .identity
        case MapCode.rotation: return .rotation(try SeededRotation(seed: try reader.u64(), dimensions: inputs))
        case MapCode.matrix:
            let outputs = try dimensions(&reader)
            let rows = try floats(inputs * outputs, &reader)
            return .matrix(try ProjectionMatrix(rows: rows, inputDimensions: inputs, outputDimensions: outputs))
        case let code: throw damaged("unknown map \(code)")
        }
    }

    private static func dimensions(_ reader: inout ByteReader) throws(NeedletailError) -> Int {
        let value = try reader.varint()
        guard (1...UInt64(Limits.dimensions)).contains(value) else { throw damaged("\(value) dimensions") }
        return Int(value)
    }

    private static func floats(_ count: Int, _ reader: inout ByteReader) throws(NeedletailError) -> [Float] {
        guard count <= reader.remaining / 4 else { throw damaged("\(count) values are wanted and \(reader.remaining) bytes are left") }
        var values: [Float] = []
        values.reserveCapacity(count)
        for _ in 0..<count { values.append(try reader.f32()) }
        return values
    }

    private static func damaged(_ what: String, cause: NeedletailError? = nil) -> NeedletailError {
        NeedletailError(.dataLoss, "a stored transform is damaged (\(what)); restore it from another replica", cause: cause)
    }
}
