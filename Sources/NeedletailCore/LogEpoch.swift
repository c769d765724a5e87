/// Where an epoch begins in a replica's log. A list of them, oldest first, tells where two logs begin to differ: an epoch has one
/// primary, so logs that have a record of the same epoch and sequence agree up to it.
public struct LogEpoch: Sendable, Hashable {
    public var epoch: UInt64
    /// Of the first record written in that epoch that the log has.
    public var firstSequence: UInt64

    public init(epoch: UInt64, firstSequence: UInt64) {
        self.epoch = epoch
        self.firstSequence = firstSequence
    }
}
