import CNeedletailMessages
import CProtobufC
public import NeedletailCluster
import NeedletailCore

extension InternalMessages {
    public static let split = MessageCodec<SplitOrder>(
        write: { order, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__SplitRequest.self)
            message.pointee.shard = try arena.shardID(order.parent)
            message.pointee.n_children = order.children.count
            message.pointee.children = try arena.list(order.children) { child throws(NeedletailError) in
                let part = try arena.make(Needletail__Internal__V1__SplitChild.self)
                part.pointee.number = child.number
                part.pointee.first_hash = child.range.first
                part.pointee.last_hash = child.range.last
                return part
            }
            message.pointee.seal_epoch = order.sealEpoch
            message.pointee.closing = order.isClosing ? 1 : 0
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__SplitRequest>) throws(NeedletailError) in
            let children = try messages(message.pointee.children, message.pointee.n_children) { part throws(NeedletailError) in
                let child = part.pointee
                guard child.first_hash <= child.last_hash else { throw NeedletailError(.invalidArgument, "a hash range runs backwards") }
                return SplitOrder.Child(number: child.number, range: HashRange(first: child.first_hash, last: child.last_hash))
            }
            return SplitOrder(
                parent: try ShardID(message.pointee.shard), children: children, sealEpoch: message.pointee.seal_epoch,
                isClosing: message.pointee.closing != 0)
        })

    public static let splitProgress = MessageCodec<SplitProgress>(
        write: { progress, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__SplitReply.self)
            message.pointee.end = progress.end
            message.pointee.sealed = progress.isSealed ? 1 : 0
            message.pointee.closed = progress.isClosed ? 1 : 0
            message.pointee.n_children = progress.children.count
            message.pointee.children = try arena.list(progress.children) { child throws(NeedletailError) in
                let part = try arena.make(Needletail__Internal__V1__SplitProgress.self)
                part.pointee.ready = child.isReady ? 1 : 0
                part.pointee.end = child.end
                return part
            }
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__SplitReply>) throws(NeedletailError) in
            let children = try messages(message.pointee.children, message.pointee.n_children) { part in
                SplitProgress.Child(isReady: part.pointee.ready != 0, end: part.pointee.end)
            }
            return SplitProgress(
                end: message.pointee.end, isSealed: message.pointee.sealed != 0, isClosed: message.pointee.closed != 0, children: children)
        })
}
