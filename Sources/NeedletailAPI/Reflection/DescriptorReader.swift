/// The length-delimited fields of a descriptor. The descriptors it reads are our own, but it stays within bounds whatever they are.
enum DescriptorReader {
    /// The contents of all fields with this number, up to where the bytes make no sense.
    static func all(_ field: UInt64, in bytes: ArraySlice<UInt8>) -> [ArraySlice<UInt8>] {
        var reader = WireReader(bytes)
        var found: [ArraySlice<UInt8>] = []
        while let next = try? reader.next() { if case .bytes(let content) = next.value, next.field == field { found.append(content) } }
        return found
    }

    static func text(_ field: UInt64, in bytes: ArraySlice<UInt8>) -> String {
        all(field, in: bytes).last.map { String(decoding: $0, as: UTF8.self) } ?? ""
    }
}
