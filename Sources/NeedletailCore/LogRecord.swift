/// A log record on its way from one replica to another.
public struct LogRecord: Sendable, Equatable {
    public var sequence: UInt64
    public var epoch: UInt64
    public var payload: [UInt8]
    /// Of the write, while it is traced (W3C Trace Context); no log keeps it.
    public var traceparent: String?

    public init(sequence: UInt64, epoch: UInt64, payload: [UInt8], traceparent: String? = nil) {
        self.sequence = sequence
        self.epoch = epoch
        self.payload = payload
        self.traceparent = traceparent
    }
}
