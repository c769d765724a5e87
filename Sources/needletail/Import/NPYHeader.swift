import Foundation
import NeedletailClient

/// The header of a .npy file (NumPy's "NEP 1" format, versions 1 to 3).
struct NPYHeader {
    /// As numpy writes it: "<f4".
    let type: String
    let shape: [Int]
    /// Where the array begins.
    let end: Int

    init(_ data: Data, path: String) throws(NeedletailError) {
        func wrong(_ what: String) -> NeedletailError { NeedletailError(.invalidArgument, "\(path) \(what)") }
        let bytes = Array(data.prefix(10))
        guard bytes.count == 10, bytes.starts(with: [0x93] + Array("NUMPY".utf8)) else { throw wrong("is no .npy file") }
        let (lengthStart, lengthSize) = bytes[6] == 1 ? (8, 2) : (8, 4)
        guard data.count >= 12 else { throw wrong("is cut off") }
        var length = 0
        for index in (0..<lengthSize).reversed() { length = length << 8 | Int(data[data.startIndex + lengthStart + index]) }
        end = lengthStart + lengthSize + length
        guard length < 1 << 20, data.count >= end else { throw wrong("is cut off") }
        let text = String(decoding: data[data.startIndex + lengthStart + lengthSize..<data.startIndex + end], as: UTF8.self)

        guard let type = Self.value("descr", in: text)?.split(separator: "'").first.map(String.init) else {
            throw wrong("has an unreadable header")
        }
        guard text.contains("'fortran_order': False") else {
            throw wrong("is in column order; save it with numpy.ascontiguousarray(array)")
        }
        guard let tuple = Self.value("shape", in: text)?.dropFirst().split(separator: ")", omittingEmptySubsequences: false).first
        else {
            throw wrong("has an unreadable header")
        }
        let numbers = tuple.split(separator: ",").map { Int($0.filter { $0 != " " }) }
        guard numbers.allSatisfy({ $0 != nil && $0! >= 0 && $0! < 1 << 40 }) else { throw wrong("has an unreadable shape") }
        self.type = type
        shape = numbers.compactMap { $0 }
        if shape.count == 2, shape[1] > Limits.dimensions {
            throw wrong("has \(shape[1]) columns; vectors have at most \(Limits.dimensions) dimensions")
        }
    }

    /// What follows `'key': `.
    private static func value(_ key: String, in text: String) -> Substring? {
        guard let found = text.firstRange(of: "'\(key)':") else { return nil }
        return text[found.upperBound...].drop { $0 == " " }
    }

    func vectorScalar(path: String) throws(NeedletailError) -> VectorFile.Scalar {
        switch type {
        case "<f4": return .f32
        case "<f2": return .f16
        case "|u1", "<u1": return .u8
        case "|i1", "<i1": return .i8
        case "<f8": return .f64
        default:
            throw NeedletailError(
                .invalidArgument, "\(path) holds \(type), which cannot be imported; convert it with numpy: array.astype('<f4')")
        }
    }
}
