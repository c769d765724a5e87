/// What the graph walks on.
public enum CodecSpec: Sendable, Hashable {
    /// The stored vectors themselves.
    case asGiven
    /// Transformed vectors as float32 or IEEE half.
    case f32, f16
    /// Locally-adaptive vector quantisation: 8 bits, 4 bits, or 4 bits for the walk and 8 more for a second look.
    case lvq8, lvq4, lvq4x8
    /// RaBitQ: 1, 2 or 4 bits a dimension of a randomly rotated vector, with a bound on the error.
    case rabitq(bits: Int)
    /// Product quantisation: the dimensions cut into so many subspaces, each rounded to one of 2^bits centroids; 8 or 4 bits.
    case pq(subspaces: Int, bits: Int)
    /// Residual quantisation: the sum of so many centroids, each one of 256.
    case rq(levels: Int)

    /// Levels of residual quantisation that there may be: the products of all centroids with one another are kept in memory.
    public static let residualLevels = 1...16
    /// Subspaces that there may be: the same goes for the centroids of each.
    public static let subspaces = 1...256

    /// The name that stands for the codec in the text of an index spec.
    public var name: String {
        switch self {
        case .asGiven: "none"
        case .f32: "f32"
        case .f16: "f16"
        case .lvq8: "lvq8"
        case .lvq4: "lvq4"
        case .lvq4x8: "lvq4x8"
        case .rabitq(let bits): "rabitq\(bits)"
        case .pq(let subspaces, let bits): bits == 8 ? "pq\(subspaces)" : "pq\(subspaces)x\(bits)"
        case .rq(let levels): "rq\(levels)"
        }
    }

    /// Reads a name; whether its numbers are ones that there are is for `problem`.
    public init?(name: String) {
        if let plain = Self.plain.first(where: { $0.name == name }) {
            self = plain
        } else if let bits = Self.number(name, after: "rabitq") {
            self = .rabitq(bits: bits)
        } else if let levels = Self.number(name, after: "rq") {
            self = .rq(levels: levels)
        } else if let subspaces = Self.number(name, after: "pq") {
            self = .pq(subspaces: subspaces, bits: 8)
        } else {
            let parts = name.split(separator: "x", omittingEmptySubsequences: false)
            guard parts.count == 2, let subspaces = Self.number(String(parts[0]), after: "pq"), let bits = Self.number(String(parts[1]), after: "")
            else { return nil }
            self = .pq(subspaces: subspaces, bits: bits)
        }
    }

    private static func number(_ text: String, after start: String) -> Int? {
        guard text.hasPrefix(start) else { return nil }
        let digits = text.dropFirst(start.count)
        return digits.utf8.allSatisfy { (48...57).contains($0) } ? Int(digits) : nil
    }

    /// The codecs without numbers.
    private static let plain: [CodecSpec] = [.asGiven, .f32, .f16, .lvq8, .lvq4, .lvq4x8]

    /// One or more of each kind, for lists in messages and in tests.
    public static let examples: [CodecSpec] =
        plain + [
            .rabitq(bits: 1), .rabitq(bits: 2), .rabitq(bits: 4), .pq(subspaces: 32, bits: 8), .pq(subspaces: 32, bits: 4), .rq(levels: 8),
        ]

    /// Whether it encodes what is left of a vector once the mean is taken off, and so always centres.
    public var centres: Bool {
        switch self {
        case .asGiven, .f32, .f16: false
        case .lvq8, .lvq4, .lvq4x8, .rabitq, .pq, .rq: true
        }
    }

    /// Whether it counts on a random rotation, and so has one when the spec names none.
    public var rotates: Bool { if case .rabitq = self { true } else { false } }

    /// Centroids of each book of codes that name centroids; 0 for other codecs.
    public var centroids: Int {
        switch self {
        case .pq(_, let bits): 1 << max(0, min(bits, 8))
        case .rq: 256
        case .asGiven, .f32, .f16, .lvq8, .lvq4, .lvq4x8, .rabitq: 0
        }
    }

    /// float32 values of all centroids, for vectors of so many dimensions after their transform.
    public func centroidValues(dimensions: Int) -> Int {
        switch self {
        case .rq(let levels): levels * centroids * dimensions
        default: centroids * dimensions
        }
    }

    /// What is wrong with the numbers of the codec for vectors of so many dimensions after their transform; nil when nothing is.
    public func problem(dimensions: Int) -> String? {
        switch self {
        case .asGiven, .f32, .f16, .lvq8, .lvq4, .lvq4x8: return nil
        case .rabitq(let bits):
            return [1, 2, 4].contains(bits) ? nil : "rabitq takes 1, 2 or 4 bits a dimension, not \(bits)"
        case .pq(let subspaces, let bits):
            if bits != 8, bits != 4 { return "pq takes 8 bits a subspace (pq\(subspaces)) or 4 (pq\(subspaces)x4), not \(bits)" }
            let most = min(dimensions, Self.subspaces.upperBound)
            return (1...most).contains(subspaces) ? nil : "\(name) does not fit \(dimensions) dimensions; use 1 to \(most) subspaces"
        case .rq(let levels):
            let range = Self.residualLevels
            return range.contains(levels) ? nil : "rq takes \(range.lowerBound) to \(range.upperBound) levels, not \(levels)"
        }
    }
}

/// The bytes of a codec in a checkpoint: a number that must not change, then the options of its kind.
extension CodecSpec {
    public func encode(to writer: inout ByteWriter) {
        switch self {
        case .asGiven: writer.u8(0)
        case .f32: writer.u8(1)
        case .f16: writer.u8(2)
        case .lvq8: writer.u8(3)
        case .lvq4: writer.u8(4)
        case .lvq4x8: writer.u8(5)
        case .rabitq(let bits):
            writer.u8(6)
            writer.u8(UInt8(clamping: bits))
        case .pq(let subspaces, let bits):
            writer.u8(7)
            writer.varint(UInt64(clamping: subspaces))
            writer.u8(UInt8(clamping: bits))
        case .rq(let levels):
            writer.u8(8)
            writer.u8(UInt8(clamping: levels))
        }
    }

    /// - Throws: `dataLoss` when the bytes are damaged.
    public init(from reader: inout ByteReader) throws(NeedletailError) {
        switch try reader.u8() {
        case 0: self = .asGiven
        case 1: self = .f32
        case 2: self = .f16
        case 3: self = .lvq8
        case 4: self = .lvq4
        case 5: self = .lvq4x8
        case 6: self = .rabitq(bits: Int(try reader.u8()))
        case 7: self = .pq(subspaces: Int(clamping: try reader.varint()), bits: Int(try reader.u8()))
        case 8: self = .rq(levels: Int(try reader.u8()))
        case let number: throw NeedletailError(.dataLoss, "a stored codec is damaged: there is no codec \(number)")
        }
        if let problem = problem(dimensions: Limits.dimensions) { throw NeedletailError(.dataLoss, "a stored codec is damaged: \(problem)") }
    }
}
