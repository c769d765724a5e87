/// Names one write for all attempts to carry it out: 128 bits, drawn at random.
public struct OperationID: Sendable, Hashable {
    public var high: UInt64
    public var low: UInt64

    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    public static func random() -> OperationID { OperationID(high: .random(in: 0 ... .max), low: .random(in: 0 ... .max)) }
}
