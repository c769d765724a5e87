import NeedletailClient

extension PayloadValue {
    static func count(_ value: some BinaryInteger) -> PayloadValue { .integer(Int64(clamping: value)) }
}

extension PointID {
    /// Numbers as JSON numbers while those are exact for every reader, else as text.
    var json: PayloadValue {
        if case .number(let number) = self, let integer = Int64(exactly: number) { return .integer(integer) }
        return .string(description)
    }
}
