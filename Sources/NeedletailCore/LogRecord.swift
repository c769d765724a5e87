/// A log record on its way from one replica to another.
public struct LogRecord: Sendable, Equatable {
    public var sequence: UInt64
    public var epoch: UInt64
    public var payload: [UInt8]

    public init(sequence: UInt64, epoch: UInt64, payload: [UInt8]) {
        self.sequence = sequence
        self.epoch = epoch
        self.payload = payload
    }
}
