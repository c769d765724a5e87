import CNeedletailMessages
import CProtobufC
public import NeedletailCore

extension PublicMessages {
    public static let planRequest = MessageCodec<Void>(
        write: { _, arena throws(NeedletailError) in try arena.make(Needletail__V1__PlanRequest.self) },
        read: { (_: UnsafePointer<Needletail__V1__PlanRequest>) in })

    public static let plan = MessageCodec<MovePlan>(
        write: { plan, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__PlanResponse.self)
            message.pointee.n_moves = plan.moves.count
            message.pointee.moves = try arena.list(plan.moves, arena.move)
            message.pointee.held = try arena.text(plan.held.withoutNUL)
            message.pointee.n_reshardings = plan.reshardings.count
            message.pointee.reshardings = try arena.list(plan.reshardings, arena.resharding)
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__PlanResponse>) throws(NeedletailError) in
            let moves = try messages(message.pointee.moves, message.pointee.n_moves) { move throws(NeedletailError) in try MoveInfo(move) }
            let reshardings = try messages(message.pointee.reshardings, message.pointee.n_reshardings) { resharding throws(NeedletailError) in
                try ReshardingInfo(resharding)
            }
            return MovePlan(moves: moves, held: string(message.pointee.held), reshardings: reshardings)
        })

    public static let moveOrder = MessageCodec<MoveOrder>(
        write: { order, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__MoveRequest.self)
            message.pointee.collection = try arena.text(order.collection)
            message.pointee.shard = order.shard
            message.pointee.from = try arena.text(order.from.map(hexadecimal) ?? "")
            message.pointee.to = try arena.text(order.to.map(hexadecimal) ?? "")
            message.pointee.lead_only = order.isLeadOnly ? 1 : 0
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__MoveRequest>) throws(NeedletailError) in
            let order = message.pointee
            return MoveOrder(
                collection: string(order.collection), shard: order.shard, from: try optionalID(string(order.from), "from"),
                to: try optionalID(string(order.to), "to"), isLeadOnly: order.lead_only != 0)
        })

    public static let splitShard = MessageCodec<ShardSplitOrder>(
        write: { order, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__SplitRequest.self)
            message.pointee.collection = try arena.text(order.collection)
            message.pointee.shard = order.shard
            message.pointee.at = try arena.text(order.at.map(hexadecimal) ?? "")
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__SplitRequest>) throws(NeedletailError) in
            let order = message.pointee
            return ShardSplitOrder(collection: string(order.collection), shard: order.shard, at: try optionalID(string(order.at), "at"))
        })

    public static let mergeShards = MessageCodec<ShardMergeOrder>(
        write: { order, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__MergeRequest.self)
            message.pointee.collection = try arena.text(order.collection)
            message.pointee.shard = order.shard
            message.pointee.other = order.other
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__MergeRequest>) in
            ShardMergeOrder(collection: string(message.pointee.collection), shard: message.pointee.shard, other: message.pointee.other)
        })

    public static let cancelMove = MessageCodec<UInt64>(
        write: { id, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__CancelRequest.self)
            message.pointee.id = try arena.text(hexadecimal(id))
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__CancelRequest>) throws(NeedletailError) in
            try hexadecimal(string(message.pointee.id), "an operation's id")
        })

    public static let drain = MessageCodec<UInt64>(
        write: { node, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__DrainRequest.self)
            message.pointee.node = try arena.text(hexadecimal(node))
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__DrainRequest>) throws(NeedletailError) in
            try hexadecimal(string(message.pointee.node), "a node's id")
        })

    public static let undrain = MessageCodec<UInt64>(
        write: { node, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__UndrainRequest.self)
            message.pointee.node = try arena.text(hexadecimal(node))
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__UndrainRequest>) throws(NeedletailError) in
            try hexadecimal(string(message.pointee.node), "a node's id")
        })

    public static let forget = MessageCodec<UInt64>(
        write: { node, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__ForgetRequest.self)
            message.pointee.node = try arena.text(hexadecimal(node))
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__ForgetRequest>) throws(NeedletailError) in
            try hexadecimal(string(message.pointee.node), "a node's id")
        })

    public static let node = MessageCodec<NodeInfo>(
        write: { node, arena throws(NeedletailError) in try arena.node(node) },
        read: { (message: UnsafePointer<Needletail__V1__Node>) throws(NeedletailError) in try NodeInfo(message) })

    public static let pauseMoves = MessageCodec<Void>(
        write: { _, arena throws(NeedletailError) in try arena.make(Needletail__V1__PauseRequest.self) },
        read: { (_: UnsafePointer<Needletail__V1__PauseRequest>) in })

    public static let resumeMoves = MessageCodec<Void>(
        write: { _, arena throws(NeedletailError) in try arena.make(Needletail__V1__ResumeRequest.self) },
        read: { (_: UnsafePointer<Needletail__V1__ResumeRequest>) in })

    public static let listOperations = MessageCodec<Void>(
        write: { _, arena throws(NeedletailError) in try arena.make(Needletail__V1__ListOperationsRequest.self) },
        read: { (_: UnsafePointer<Needletail__V1__ListOperationsRequest>) in })

    public static let operation = MessageCodec<OperationInfo>(
        write: { operation, arena throws(NeedletailError) in try arena.operation(operation) },
        read: { (message: UnsafePointer<Needletail__V1__Operation>) throws(NeedletailError) in try OperationInfo(message) })

    public static let operations = MessageCodec<OperationList>(
        write: { list, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__ListOperationsResponse.self)
            message.pointee.paused = list.isPaused ? 1 : 0
            message.pointee.n_operations = list.operations.count
            message.pointee.operations = try arena.list(list.operations, arena.operation)
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__ListOperationsResponse>) throws(NeedletailError) in
            let operations = try messages(message.pointee.operations, message.pointee.n_operations) { operation throws(NeedletailError) in
                try OperationInfo(operation)
            }
            return OperationList(isPaused: message.pointee.paused != 0, operations: operations)
        })

    /// The number after which.
    public static let listEvents = MessageCodec<UInt64>(
        write: { after, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__ListEventsRequest.self)
            message.pointee.after = after
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__ListEventsRequest>) in message.pointee.after })

    public static let events = MessageCodec<[EventInfo]>(
        write: { events, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__ListEventsResponse.self)
            message.pointee.n_events = events.count
            message.pointee.events = try arena.list(events) { event throws(NeedletailError) in
                let part = try arena.make(Needletail__V1__Event.self)
                part.pointee.number = event.number
                part.pointee.milliseconds = event.milliseconds
                part.pointee.kind = try arena.text(event.kind.withoutNUL)
                part.pointee.message = try arena.text(event.message.withoutNUL)
                return part
            }
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__ListEventsResponse>) throws(NeedletailError) in
            try messages(message.pointee.events, message.pointee.n_events) { event in
                EventInfo(
                    number: event.pointee.number, milliseconds: event.pointee.milliseconds, kind: string(event.pointee.kind),
                    message: string(event.pointee.message))
            }
        })
}

/// nil for an empty text.
private func optionalID(_ text: String, _ name: String) throws(NeedletailError) -> UInt64? { text.isEmpty ? nil : try hexadecimal(text, name) }

extension MoveInfo {
    init(_ message: UnsafePointer<Needletail__V1__PlannedMove>) throws(NeedletailError) {
        let move = message.pointee
        let order = MoveOrder(
            collection: string(move.collection), shard: move.shard, from: try optionalID(string(move.from), "from"), to: try optionalID(string(move.to), "to"),
            isLeadOnly: move.lead_only != 0)
        self.init(order: order, bytes: move.bytes, cause: string(move.cause), reason: string(move.reason))
    }
}

extension OperationInfo {
    init(_ message: UnsafePointer<Needletail__V1__Operation>) throws(NeedletailError) {
        let operation = message.pointee
        self.init(
            id: try hexadecimal(string(operation.id), "an operation's id"), kind: string(operation.kind),
            move: try MoveInfo(try need(operation.move, "move")), step: string(operation.step), problem: string(operation.problem),
            createdMilliseconds: operation.created_milliseconds, changedMilliseconds: operation.changed_milliseconds)
    }
}

extension ReshardingInfo {
    fileprivate init(_ message: UnsafePointer<Needletail__V1__PlannedResharding>) throws(NeedletailError) {
        let (planned, collection) = (message.pointee, string(message.pointee.collection))
        let change: Change
        switch string(planned.kind) {
        case "split": change = .split(ShardSplitOrder(collection: collection, shard: planned.shard))
        case "merge": change = .merge(ShardMergeOrder(collection: collection, shard: planned.shard, other: planned.other))
        case let kind: throw NeedletailError(.invalidArgument, "a planned \(kind) is unknown to this version")
        }
        self.init(change, reason: string(planned.reason))
    }
}

extension MessageArena {
    fileprivate func resharding(_ info: ReshardingInfo) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__V1__PlannedResharding> {
        let message = try make(Needletail__V1__PlannedResharding.self)
        switch info.change {
        case .split(let order):
            (message.pointee.kind, message.pointee.collection) = (try text("split"), try text(order.collection))
            message.pointee.shard = order.shard
        case .merge(let order):
            (message.pointee.kind, message.pointee.collection) = (try text("merge"), try text(order.collection))
            (message.pointee.shard, message.pointee.other) = (order.shard, order.other)
        }
        message.pointee.reason = try text(info.reason.withoutNUL)
        return message
    }

    func move(_ info: MoveInfo) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__V1__PlannedMove> {
        let message = try make(Needletail__V1__PlannedMove.self)
        message.pointee.collection = try text(info.order.collection)
        message.pointee.shard = info.order.shard
        message.pointee.from = try text(info.order.from.map(hexadecimal) ?? "")
        message.pointee.to = try text(info.order.to.map(hexadecimal) ?? "")
        message.pointee.lead_only = info.order.isLeadOnly ? 1 : 0
        message.pointee.bytes = info.bytes
        message.pointee.cause = try text(info.cause.withoutNUL)
        message.pointee.reason = try text(info.reason.withoutNUL)
        return message
    }

    func operation(_ info: OperationInfo) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__V1__Operation> {
        let message = try make(Needletail__V1__Operation.self)
        message.pointee.id = try text(hexadecimal(info.id))
        message.pointee.move = try move(info.move)
        message.pointee.step = try text(info.step.withoutNUL)
        message.pointee.problem = try text(info.problem.withoutNUL)
        message.pointee.created_milliseconds = info.createdMilliseconds
        message.pointee.changed_milliseconds = info.changedMilliseconds
        message.pointee.kind = try text(info.kind.withoutNUL)
        return message
    }
}
