import NeedletailClient
import NeedletailJSON

// Points as lines of JSON: what `export`, `get` and `search` print, and `import` reads.

extension DenseVector {
    /// The numbers as JSON; `dimensions` cuts the unused bits of the last byte of a bit vector.
    func json(dimensions: Int?) -> String {
        let values: [String] = bytes.withUnsafeBytes { bytes in
            switch element {
            case .f32:
                (0..<bytes.count / 4).map { "\(Float(bitPattern: bytes.loadUnaligned(fromByteOffset: $0 * 4, as: UInt32.self)))" }
            case .f16: (0..<bytes.count / 2).map { "\(Half.float(bytes.loadUnaligned(fromByteOffset: $0 * 2, as: UInt16.self)))" }
            case .u8: bytes.map { "\($0)" }
            case .bit: (0..<min(dimensions ?? .max, bytes.count * 8)).map { bytes[$0 / 8] >> UInt8($0 % 8) & 1 == 1 ? "1" : "0" }
            }
        }
        return "[" + values.joined(separator: ",") + "]"
    }

    /// Numbers for a field: bits are packed here, other elements are converted by the cluster.
    init(_ values: [Float], for field: VectorField?) throws(NeedletailError) {
        guard let field, field.element == .bit else {
            self.init(values)
            return
        }
        var bytes = [UInt8](repeating: 0, count: (values.count + 7) / 8)
        for (index, value) in values.enumerated() where value != 0 {
            guard value == 1 else {
                throw NeedletailError(.invalidArgument, "field \"\(field.name)\" takes bits, 0 or 1; got \(value)")
            }
            bytes[index / 8] |= 1 << UInt8(index % 8)
        }
        self.init(element: .bit, bytes: bytes)
    }
}

/// IEEE half precision.
enum Half {
    static func float(_ bits: UInt16) -> Float {
        let sign: Float = bits & 0x8000 == 0 ? 1 : -1
        let (exponent, fraction) = (Int(bits >> 10 & 31), Float(bits & 1023))
        switch exponent {
        case 0: return sign * fraction * Float(sign: .plus, exponent: -24, significand: 1)
        case 31: return fraction == 0 ? sign * .infinity : .nan
        default: return sign * Float(sign: .plus, exponent: exponent - 15, significand: 1 + fraction / 1024)
        }
    }
}

enum PointJSON {
    /// One line, without its end.
    static func line(
        id: PointID, vectors: [NamedVector], payload: [UInt8], fields: [VectorField], extra: [(String, String)] = []
    ) throws -> String {
        var text = "{\"id\":" + JSONWriter.text(id.json)
        for (key, value) in extra { text += ",\"\(key)\":\(value)" }
        if !vectors.isEmpty {
            text += ",\"vectors\":{"
            for (index, named) in vectors.enumerated() {
                if index > 0 { text += "," }
                JSONText.append(named.field, to: &text)
                text += ":" + named.vector.json(dimensions: fields.first { $0.name == named.field }?.dimensions)
            }
            text += "}"
        }
        if !payload.isEmpty { text += ",\"payload\":" + JSONWriter.text(try PayloadCoding.decode(payload)) }
        return text + "}"
    }

    /// A point from a line of JSON: `id`, `vectors` or `vector`, `payload`; other keys are refused, for a misspelt one would be lost.
    static func operation(_ line: some Sequence<UInt8>, field: String, fields: [VectorField]) throws(NeedletailError)
        -> NamedOperation
    {
        var reader = JSONReader(line)
        var id: PointID?
        var vectors: [NamedVector] = []
        var payload: [UInt8] = []
        try reader.object { key, reader throws(NeedletailError) in
            switch key {
            case "id": id = try Self.id(&reader)
            case "vector": vectors.append(try vector(&reader, field, fields))
            case "vectors":
                try reader.object { name, reader throws(NeedletailError) in vectors.append(try vector(&reader, name, fields)) }
            case "payload":
                guard case .map(let entries) = try reader.value() else {
                    throw NeedletailError(.invalidArgument, "\"payload\" is an object of keys and values")
                }
                payload = PayloadCoding.encode(entries)
            default:
                throw NeedletailError(
                    .invalidArgument, "\"\(key)\" is none of id, vector, vectors and payload; move it into payload")
            }
        }
        try reader.end()
        guard let id else { throw NeedletailError(.invalidArgument, "the point has no \"id\"") }
        return .upsert(id: id, vectors: vectors, payload: payload)
    }

    private static func id(_ reader: inout JSONReader) throws(NeedletailError) -> PointID {
        switch try reader.value() {
        case .integer(let number) where number >= 0: return .number(UInt64(number))
        case .string(let text): if let id = PointID(text) { return id }
        default: break
        }
        throw NeedletailError(.invalidArgument, "an \"id\" is a whole number from 0, or a text with a number or a UUID")
    }

    private static func vector(
        _ reader: inout JSONReader, _ name: String, _ fields: [VectorField]
    ) throws(NeedletailError) -> NamedVector {
        // Asked here, where the line is known: the cluster's refusal would name no point.
        guard let field = name.isEmpty && fields.count == 1 ? fields[0] : fields.first(where: { $0.name == name }) else {
            let known = fields.map { "\"\($0.name)\"" }.joined(separator: ", ")
            let advice = name.isEmpty ? "say which field \"vector\" is for: --field" : "there is no field \"\(name)\""
            throw NeedletailError(.invalidArgument, "\(advice); the collection has \(known)")
        }
        return NamedVector(field: name, vector: try DenseVector(try reader.floats(), for: field))
    }
}
