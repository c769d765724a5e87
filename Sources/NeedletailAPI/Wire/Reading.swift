package import CNeedletailMessages
import CProtobufC
package import NeedletailCore

/// A repeated message field. protobuf-c has no null pointers in such an array.
package func messages<Message, Value>(
    _ pointers: UnsafeMutablePointer<UnsafeMutablePointer<Message>?>?, _ count: Int,
    _ convert: (UnsafePointer<Message>) throws(NeedletailError) -> Value
) throws(NeedletailError) -> [Value] {
    guard let pointers, count > 0 else { return [] }
    var values: [Value] = []
    values.reserveCapacity(count)
    for index in 0..<count {
        guard let message = pointers[index] else { throw MessageCheck.malformed("a part is missing") }
        values.append(try convert(message))
    }
    return values
}

/// Text that `MessageCheck` has found to be UTF-8 without NUL.
package func string(_ text: UnsafePointer<CChar>?) -> String { text.map { String(cString: $0) } ?? "" }

/// A repeated text field.
func texts(_ pointers: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?, _ count: Int) -> [String] {
    guard let pointers else { return [] }
    return (0..<count).map { string(pointers[$0]) }
}

package func byteArray(_ data: ProtobufCBinaryData) -> [UInt8] { byteArray(data.data, data.len) }

func byteArray(_ start: UnsafeRawPointer?, _ count: Int) -> [UInt8] {
    guard let start, count > 0 else { return [] }
    return [UInt8](unsafeUninitializedCapacity: count) { space, initialised in
        UnsafeMutableRawBufferPointer(space).copyMemory(from: UnsafeRawBufferPointer(start: start, count: count))
        initialised = count
    }
}

/// - Throws: `invalidArgument` saying which part is missing.
func need<Message>(_ message: UnsafeMutablePointer<Message>?, _ name: String) throws(NeedletailError) -> UnsafePointer<Message> {
    guard let message else { throw NeedletailError(.invalidArgument, "\(name) is missing; set it") }
    return UnsafePointer(message)
}

/// A count that goes into a `uint32` where 0 would mean "the default".
func positive(_ value: Int, _ name: String) throws(NeedletailError) -> UInt32 {
    guard value > 0, let small = UInt32(exactly: value) else {
        throw NeedletailError(.invalidArgument, "\(name) must be at least 1, not \(value)")
    }
    return small
}

func limited(_ count: Int, _ limit: Int, _ what: String) throws(NeedletailError) {
    guard count <= limit else {
        throw NeedletailError(.invalidArgument, "a request has up to \(limit) \(what), not \(count); send several")
    }
}

/// 16 hexadecimal digits.
func hexadecimal(_ value: UInt64) -> String { Incarnation(value).description }

func hexadecimal(_ text: String, _ name: String) throws(NeedletailError) -> UInt64 {
    guard text.utf8.count == 16, let value = UInt64(text, radix: 16) else {
        throw NeedletailError(.invalidArgument, "\(name) is 16 hexadecimal digits, not \"\(text)\"")
    }
    return value
}
