import CNeedletailMessages
import CProtobufC
public import NeedletailCluster
import NeedletailCore

extension InternalMessages {
    public static let merge = MessageCodec<MergeOrder>(
        write: { order, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__MergeRequest.self)
            message.pointee.n_parents = order.parents.count
            message.pointee.parents = try arena.list(order.parents) { parent throws(NeedletailError) in
                let part = try arena.make(Needletail__Internal__V1__MergeParent.self)
                part.pointee.shard = try arena.shardID(parent.shard)
                part.pointee.first_hash = parent.range.first
                part.pointee.last_hash = parent.range.last
                part.pointee.seal_epoch = parent.sealEpoch
                return part
            }
            message.pointee.number = order.child.number
            message.pointee.closing = order.isClosing ? 1 : 0
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__MergeRequest>) throws(NeedletailError) in
            let parents = try messages(message.pointee.parents, message.pointee.n_parents) { parent throws(NeedletailError) in
                let (first, last) = (parent.pointee.first_hash, parent.pointee.last_hash)
                guard first <= last else { throw NeedletailError(.invalidArgument, "a hash range runs backwards") }
                return MergeOrder.Parent(
                    shard: try ShardID(parent.pointee.shard), range: HashRange(first: first, last: last), sealEpoch: parent.pointee.seal_epoch)
            }
            guard parents.count == 2, parents[0].range.last < .max, parents[0].range.last + 1 == parents[1].range.first,
                parents[0].shard.incarnation == parents[1].shard.incarnation
            else { throw NeedletailError(.invalidArgument, "two neighbours of one collection are merged") }
            let range = HashRange(first: parents[0].range.first, last: parents[1].range.last)
            return MergeOrder(
                parents: parents, child: SplitOrder.Child(number: message.pointee.number, range: range), isClosing: message.pointee.closing != 0)
        })

    public static let mergeProgress = MessageCodec<MergeProgress>(
        write: { progress, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__MergeReply.self)
            message.pointee.n_parents = progress.parents.count
            message.pointee.parents = try arena.list(progress.parents) { parent throws(NeedletailError) in
                let part = try arena.make(Needletail__Internal__V1__MergeParentProgress.self)
                part.pointee.end = parent.end
                part.pointee.sealed = parent.isSealed ? 1 : 0
                part.pointee.closed = parent.isClosed ? 1 : 0
                part.pointee.taken = parent.taken
                return part
            }
            message.pointee.ready = progress.isReady ? 1 : 0
            message.pointee.waiting = progress.waiting
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__MergeReply>) throws(NeedletailError) in
            let parents = try messages(message.pointee.parents, message.pointee.n_parents) { parent in
                MergeProgress.Parent(
                    end: parent.pointee.end, isSealed: parent.pointee.sealed != 0, isClosed: parent.pointee.closed != 0, taken: parent.pointee.taken)
            }
            return MergeProgress(parents: parents, isReady: message.pointee.ready != 0, waiting: message.pointee.waiting)
        })
}
