import Foundation
public import NeedletailCore

/// A matrix in the big-ann-benchmarks format: `UInt32` rows, `UInt32` dimensions, then rows × dimensions elements, little-endian,
/// row-major. The extension names the element: .fbin, .f16bin, .u8bin, .i8bin.
public struct VectorFile: Sendable {
    public let name: String
    public let count: Int
    public let dimensions: Int
    /// `count × dimensions`, row-major, as float32.
    public let values: [Float]

    /// - Throws: `invalidArgument` when the file is not such a matrix, and what Foundation throws when it cannot be read.
    public init(path: String) throws {
        let url = URL(fileURLWithPath: path)
        name = url.lastPathComponent
        let data = try Data(contentsOf: url, options: .alwaysMapped)
        guard data.count >= 8 else { throw NeedletailError(.invalidArgument, "\(path) is too short for a vector file") }
        let header = data.withUnsafeBytes {
            ($0.loadUnaligned(as: UInt32.self), $0.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
        }
        (count, dimensions) = (Int(header.0), Int(header.1))
        let total = count * dimensions
        let width = ["fbin": 4, "f16bin": 2, "u8bin": 1, "i8bin": 1][url.pathExtension] ?? 0
        guard width > 0, dimensions > 0, data.count >= 8 + total * width else {
            throw NeedletailError(
                .invalidArgument, "\(path): expected .fbin, .f16bin, .u8bin or .i8bin with \(count) × \(dimensions) values")
        }
        let kind = url.pathExtension
        values = data.withUnsafeBytes { bytes in
            let base = bytes.baseAddress.unsafelyUnwrapped + 8
            return [Float](unsafeUninitializedCapacity: total) { out, initialized in
                for index in 0..<total {
                    switch kind {
                    case "fbin": out[index] = base.loadUnaligned(fromByteOffset: index * 4, as: Float.self)
                    case "f16bin":
                        out[index] = Float(Float16(bitPattern: base.loadUnaligned(fromByteOffset: index * 2, as: UInt16.self)))
                    case "u8bin": out[index] = Float(base.load(fromByteOffset: index, as: UInt8.self))
                    default: out[index] = Float(base.load(fromByteOffset: index, as: Int8.self))
                    }
                }
                initialized = total
            }
        }
    }

    /// Rows that were made, not read.
    public init(name: String, rows: VectorRows) {
        self.name = name
        count = rows.count
        dimensions = rows.dimensions
        values = rows.values
    }

    private init(name: String, dimensions: Int, values: [Float]) {
        self.name = name
        self.dimensions = dimensions
        self.values = values
        count = values.count / dimensions
    }

    /// The first rows alone.
    public func prefix(_ rows: Int) -> VectorFile {
        rows >= count ? self : VectorFile(name: name, dimensions: dimensions, values: Array(values[..<(rows * dimensions)]))
    }

    public func row(_ index: Int) -> ArraySlice<Float> { values[index * dimensions..<(index + 1) * dimensions] }

    public func vector(_ row: Int) -> DenseVector { DenseVector(Array(self.row(row))) }
}
