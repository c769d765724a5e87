public import NeedletailCore

/// What a replica's machines are told. An event that does not concern the present role is ignored, since it may have been on its way
/// while the role changed.
///
/// Time is monotonic and counted from any fixed moment of the process; it never goes back and may run at a rate of its own.
public enum ReplicaEvent: Sendable {
    // Of metadata and the leader.

    /// Metadata say this now. Older news than what is known are ignored.
    case place(ShardPlace)
    case fence(Fence)
    /// The promise is on the disk.
    case persisted(ReplicaPromise)

    // Of the log.

    /// The primary appended what a client wrote; the records have the primary's epoch.
    case appended(through: UInt64)
    case durable(through: UInt64)
    /// A commit failed and took back every record after this one. The world appends nothing between the failure and this event.
    case commitFailed(lastKept: UInt64)
    /// The log takes no records any more until the replica is opened anew. May be told again and again.
    case logBroken
    /// The records up to this one were dropped since a checkpoint has them.
    case trimmed(through: UInt64)
    /// The newest checkpoint has everything up to here. May be told again and again.
    case checkpointed(through: UInt64)
    /// The last `cut` or `install` is done and durable, and no `durable` of a commit before it is still to come.
    case changed

    // Of streams, at the primary.

    case follow(Follow)
    /// A `SendOrder` was carried out: the last record that was sent (the order's `previous` when none was) and the payloads' size.
    case sent(StreamID, through: UInt64, sizeBytes: Int)
    case acknowledged(StreamID, durable: UInt64)
    /// The outcome of `ReplicaAction.verify`.
    case verified(StreamID, isEqual: Bool)
    /// The leader wants another primary: end this epoch as soon as every member of the set has every record.
    case handOver(epoch: UInt64)
    /// A member of the in-sync set turned out to hold something else than the primary: it leaves the set and takes a checkpoint.
    case differs(NodeID)
    /// The proposal was not made, or nobody knows: the call's time ran out. One that was made is seen as `place`.
    case proposalFailed(Proposal)

    // Of the stream, at the backup.

    case answered(StreamID, FollowAnswer)
    /// The world keeps the payloads until it performs `ReplicaAction.append`, which comes at once or not at all.
    case received(StreamID, StreamedRecords)
    /// The checkpoint lies beside the old content, whole and durable. Its history ends where it does (`base` = `end`).
    case transferred(StreamID, EpochHistory)
    case transferFailed(StreamID)

    // Of both.

    case streamEnded(StreamID)
    /// To be told at least every tenth of a second.
    case tick
}

/// What a replica's world has to do, in this order.
public enum ReplicaAction: Sendable {
    /// Put it on the disk, then say `persisted`. Asked again after a while.
    case persist(ReplicaPromise)
    /// Answer the leader that fenced.
    case fenced(FenceAnswer)
    /// Answer a leader that its fence came too late: the newest epoch here is this one.
    case fenceRefused(Fence, epoch: UInt64)
    /// Tell the leader that the primary of this epoch has given up: another epoch is needed. Repeated until there is one.
    case resign(epoch: UInt64)
    /// The role has changed: the writes and reads that wait here are to be failed, their outcome is not known.
    case roleChanged

    // Of the primary.

    case answer(StreamID, FollowAnswer)
    case send(SendOrder)
    /// Compare the follower's content with ours at one sequence and its recall with ours.
    case verify(StreamID)
    case propose(Proposal)

    // Of the backup.

    case open(Follow, to: NodeID)
    /// Cut the log after this record, once no commit is under way; then say `changed`. When it fails the replica must be started anew.
    case cut(after: UInt64)
    /// Append the records just received, with these sequences, then sync.
    case append(from: UInt64, through: UInt64)
    case acknowledge(StreamID, durable: UInt64)
    /// Fetch a checkpoint of the primary's, beside what is here. The id names the transfer.
    case transfer(StreamID, from: NodeID)
    /// Put the checkpoint just fetched in place of all that is here, with a log that goes on after it; then say `changed`. When it
    /// fails the replica must be started anew. A checkpoint that is not installed when the transfer ended is thrown away.
    case install(StreamID)

    // Of both.

    /// Searches may see everything up to here.
    case apply(through: UInt64)
    case close(StreamID)
    /// A rule of the protocol is broken, here or elsewhere; nothing was done. Log it, call the operator.
    case alarm(NeedletailError)
}
