import Foundation
import NeedletailClient

/// A file of vectors, one a row: `.fbin`, `.f16bin`, `.u8bin`, `.i8bin` (two 32-bit numbers, rows and dimensions, then the rows),
/// `.fvecs` (float32 rows, each behind its dimensions as a 32-bit number) and `.npy` of two dimensions.
struct VectorFile {
    /// What the file holds.
    enum Scalar {
        case f32, f16, u8, i8, f64

        var sizeBytes: Int {
            switch self {
            case .f64: 8
            case .f32: 4
            case .f16: 2
            case .u8, .i8: 1
            }
        }

        /// What is sent: there is no element for i8 and f64.
        var element: VectorElement {
            switch self {
            case .f16: .f16
            case .u8: .u8
            case .f32, .i8, .f64: .f32
            }
        }
    }

    static let extensions = ["fbin", "f16bin", "u8bin", "i8bin", "fvecs", "npy"]

    let rowCount: Int
    let dimensions: Int
    let scalar: Scalar
    private let data: Data
    private let start: Int
    /// Bytes before each row.
    private var rowHeaderBytes = 0

    static func isOne(_ path: String) -> Bool { extensions.contains(path.split(separator: ".").last.map { $0.lowercased() } ?? "") }

    init(_ path: String) throws(NeedletailError) {
        do {
            data = try Data(contentsOf: URL(fileURLWithPath: path), options: .alwaysMapped)
        } catch {
            throw NeedletailError(.notFound, "cannot read \(path): \(error.localizedDescription)", cause: error)
        }
        switch path.split(separator: ".").last.map({ $0.lowercased() }) {
        case "fbin": scalar = .f32
        case "f16bin": scalar = .f16
        case "u8bin": scalar = .u8
        case "i8bin": scalar = .i8
        case "fvecs":
            scalar = .f32
            dimensions = data.count < 4 ? 0 : Self.number(data, at: 0)
            rowHeaderBytes = 4
            start = 0
            rowCount = data.count / (4 + 4 * max(0, dimensions))
            try check(path)
            for row in 0..<rowCount where Self.number(data, at: row * (4 + rowBytes)) != dimensions {
                throw NeedletailError(.dataLoss, "\(path), row \(row) is not of \(dimensions) dimensions as row 0 is; it is damaged or of another type")
            }
            return
        default:
            let header = try NPYHeader(data, path: path)
            scalar = try header.vectorScalar(path: path)
            guard header.shape.count == 2 else {
                throw NeedletailError(
                    .invalidArgument, "\(path) has shape \(header.shape); vectors need two dimensions, rows and columns")
            }
            (rowCount, dimensions, start) = (header.shape[0], header.shape[1], header.end)
            try check(path)
            return
        }
        guard data.count >= 8 else { throw NeedletailError(.invalidArgument, "\(path) is too short to be a file of vectors") }
        rowCount = Self.number(data, at: 0)
        dimensions = Self.number(data, at: 4)
        start = 8
        try check(path)
    }

    private static func number(_ data: Data, at offset: Int) -> Int {
        Int(data.withUnsafeBytes { UInt32(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: UInt32.self)) })
    }

    private func check(_ path: String) throws(NeedletailError) {
        guard (1...Limits.dimensions).contains(dimensions) else {
            throw NeedletailError(
                .invalidArgument, "\(path) says its vectors have \(dimensions) dimensions; 1 to \(Limits.dimensions) are possible")
        }
        // A product of two 32-bit numbers and 8 cannot overflow; .npy shapes are checked where they are read.
        let wanted = start + rowCount * (rowHeaderBytes + dimensions * scalar.sizeBytes)
        guard data.count == wanted else {
            throw NeedletailError(
                .dataLoss, "\(path) has \(data.count) bytes where its \(rowCount) rows of this type take \(wanted); it is cut off or of another type")
        }
    }

    var rowBytes: Int { dimensions * scalar.sizeBytes }

    func vector(_ row: Int) throws(NeedletailError) -> DenseVector {
        guard (0..<rowCount).contains(row) else {
            throw NeedletailError(.outOfRange, "there is no row \(row); the file has rows 0 to \(rowCount - 1)")
        }
        return DenseVector(element: scalar.element, bytes: rows(row..<row + 1))
    }

    /// The rows as elements that the cluster takes.
    func rows(_ range: Range<Int>) -> [UInt8] {
        if rowHeaderBytes > 0 {
            return data.withUnsafeBytes { data in
                range.flatMap { row in
                    let begin = start + row * (rowHeaderBytes + rowBytes) + rowHeaderBytes
                    return UnsafeRawBufferPointer(rebasing: data[begin..<begin + rowBytes])
                }
            }
        }
        let bytes = start + range.lowerBound * rowBytes..<start + range.upperBound * rowBytes
        switch scalar {
        case .f32, .f16, .u8: return data.withUnsafeBytes { [UInt8](UnsafeRawBufferPointer(rebasing: $0[bytes])) }
        case .i8: return floats(bytes) { Float(Int8(bitPattern: $0.load(fromByteOffset: $1, as: UInt8.self))) }
        case .f64:
            return floats(bytes) {
                Float(Double(bitPattern: UInt64(littleEndian: $0.loadUnaligned(fromByteOffset: $1, as: UInt64.self))))
            }
        }
    }

    /// All rows as float32.
    var floats: [UInt8] {
        let all = start..<start + rowCount * rowBytes
        switch scalar {
        case .f32, .i8, .f64: return rows(0..<rowCount)
        case .f16: return floats(all) { Float(Float16(bitPattern: UInt16(littleEndian: $0.loadUnaligned(fromByteOffset: $1, as: UInt16.self)))) }
        case .u8: return floats(all) { Float($0.load(fromByteOffset: $1, as: UInt8.self)) }
        }
    }

    private func floats(_ bytes: Range<Int>, _ value: (UnsafeRawBufferPointer, Int) -> Float) -> [UInt8] {
        let count = bytes.count / scalar.sizeBytes
        return data.withUnsafeBytes { source in
            [UInt8](unsafeUninitializedCapacity: count * 4) { space, initialised in
                let target = UnsafeMutableRawBufferPointer(space)
                for index in 0..<count {
                    let bits = value(source, bytes.lowerBound + index * scalar.sizeBytes).bitPattern.littleEndian
                    target.storeBytes(of: bits, toByteOffset: index * 4, as: UInt32.self)
                }
                initialised = count * 4
            }
        }
    }
}
