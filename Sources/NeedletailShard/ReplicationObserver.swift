public import NeedletailCore

/// Follows the log of a replica that has fellows, and says whether it may be written to and read as the primary's. Methods are called from
/// threads of the log and must be quick.
public protocol ReplicationObserver: AnyObject, Sendable {
    /// - Throws: why a write may not be logged now.
    func admit(_ write: ShardWrite) throws(NeedletailError)
    /// As `admit`, for a record that changes nothing and is wanted also when few replicas are in sync.
    func admitMark(epoch: UInt64) throws(NeedletailError)
    /// - Returns: up to where everything is committed, which the read must see.
    /// - Throws: why the replica may not answer for the primary now.
    func admitPrimaryRead() throws(NeedletailError) -> UInt64
    /// A write was admitted and its record is queued for the log; nobody hears of it before.
    func appended(through sequence: UInt64)
    /// Records up to this sequence are on this disk.
    func durable(through sequence: UInt64)
    /// The disk refused the records after `lastKept`; they were taken back.
    func failed(keeping lastKept: UInt64)
}
