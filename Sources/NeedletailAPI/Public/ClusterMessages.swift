import CNeedletailMessages
import CProtobufC
import NeedletailCore

extension CoordinatorInfo {
    init(_ message: UnsafePointer<Needletail__V1__Coordinator>) throws(NeedletailError) {
        let coordinator = message.pointee
        self.init(
            id: try hexadecimal(string(coordinator.id), "a coordinator's id"), address: string(coordinator.address), isLeader: coordinator.leader != 0)
    }
}

extension MessageArena {
    func coordinator(_ info: CoordinatorInfo) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__V1__Coordinator> {
        let message = try make(Needletail__V1__Coordinator.self)
        message.pointee.id = try text(hexadecimal(info.id))
        message.pointee.address = try text(info.address)
        message.pointee.leader = info.isLeader ? 1 : 0
        return message
    }
}

extension NodeInfo {
    init(_ message: UnsafePointer<Needletail__V1__Node>) throws(NeedletailError) {
        let node = message.pointee
        self.init(
            id: try hexadecimal(string(node.id), "a node's id"), address: string(node.address), isAlive: node.alive != 0,
            replicas: Int(node.replicas), points: node.points, memoryBytes: node.memory_bytes, diskBytes: node.disk_bytes,
            heartbeatAge: .milliseconds(Int64(clamping: node.heartbeat_age_milliseconds)),
            facts: NodeFacts(
                zone: string(node.zone), weight: node.weight, memoryLimitBytes: node.memory_limit_bytes, diskLimitBytes: node.disk_limit_bytes,
                diskFreeBytes: node.disk_free_bytes),
            isDrained: node.drained != 0, work: node.work)
    }
}

extension ShardInfo {
    init(_ message: UnsafePointer<Needletail__V1__Shard>) throws(NeedletailError) {
        let shard = message.pointee
        let replicas = try messages(shard.replicas, shard.n_replicas) { replica throws(NeedletailError) in
            try Replica(replica, shard: shard.shard, epoch: shard.epoch)
        }
        self.init(
            collection: string(shard.collection), number: shard.shard, range: try HashRange(shard.range_first, shard.range_last),
            epoch: shard.epoch, replicas: replicas, work: shard.work)
    }
}

extension HashRange {
    /// The plain initialiser traps on a range that runs backwards.
    init(_ first: UInt64, _ last: UInt64) throws(NeedletailError) {
        guard first <= last else {
            throw NeedletailError(.invalidArgument, "a hash range runs backwards, from \(first) to \(last)")
        }
        self.init(first: first, last: last)
    }
}

extension ShardInfo.Replica {
    fileprivate init(_ message: UnsafePointer<Needletail__V1__Replica>, shard: UInt32, epoch: UInt64) throws(NeedletailError) {
        let replica = message.pointee
        var status: ReplicaStatus?
        if replica.state.rawValue != 0 {
            guard let raw = UInt8(exactly: replica.state.rawValue), let state = ReplicaStatus.State(rawValue: raw) else {
                throw NeedletailError(.invalidArgument, "replica state \(replica.state.rawValue) is unknown to this version")
            }
            status = ReplicaStatus(
                shard: ShardID(incarnation: Incarnation(0), number: shard), state: state, reason: string(replica.reason),
                epoch: epoch,
                appliedSequence: replica.applied_sequence, pointCount: replica.points, memoryBytes: replica.memory_bytes,
                diskBytes: replica.disk_bytes, dataBytes: replica.data_bytes,
                recall: SampledRecall(
                    samples: replica.recall_samples, recall: replica.sampled_recall,
                    localIntrinsicDimension: replica.local_intrinsic_dimension))
        }
        self.init(node: try hexadecimal(string(replica.node), "a node's id"), isPrimary: replica.primary != 0,
            isInSync: replica.in_sync != 0, status: status)
    }
}

extension MessageArena {
    func node(_ node: NodeInfo) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__V1__Node> {
        let message = try make(Needletail__V1__Node.self)
        message.pointee.id = try text(hexadecimal(node.id))
        message.pointee.address = try text(node.address)
        message.pointee.alive = node.isAlive ? 1 : 0
        message.pointee.replicas = UInt32(clamping: node.replicas)
        message.pointee.points = node.points
        message.pointee.memory_bytes = node.memoryBytes
        message.pointee.disk_bytes = node.diskBytes
        message.pointee.heartbeat_age_milliseconds = UInt64(clamping: node.heartbeatAge.nanoseconds / 1_000_000)
        message.pointee.zone = try text(node.facts.zone)
        message.pointee.weight = node.facts.weight
        message.pointee.memory_limit_bytes = node.facts.memoryLimitBytes
        message.pointee.disk_limit_bytes = node.facts.diskLimitBytes
        message.pointee.disk_free_bytes = node.facts.diskFreeBytes
        message.pointee.drained = node.isDrained ? 1 : 0
        message.pointee.work = node.work
        return message
    }

    func shard(_ shard: ShardInfo) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__V1__Shard> {
        let message = try make(Needletail__V1__Shard.self)
        message.pointee.collection = try text(shard.collection)
        message.pointee.shard = shard.number
        message.pointee.range_first = shard.range.first
        message.pointee.range_last = shard.range.last
        message.pointee.epoch = shard.epoch
        message.pointee.n_replicas = shard.replicas.count
        message.pointee.replicas = try list(shard.replicas, replica)
        message.pointee.work = shard.work
        return message
    }

    private func replica(_ replica: ShardInfo.Replica) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__V1__Replica> {
        let message = try make(Needletail__V1__Replica.self)
        message.pointee.node = try text(hexadecimal(replica.node))
        message.pointee.primary = replica.isPrimary ? 1 : 0
        message.pointee.in_sync = replica.isInSync ? 1 : 0
        guard let status = replica.status else { return message }
        message.pointee.state = Needletail__V1__ReplicaState(rawValue: UInt32(status.state.rawValue))
        message.pointee.reason = try text(status.reason.withoutNUL)
        message.pointee.applied_sequence = status.appliedSequence
        message.pointee.points = status.pointCount
        message.pointee.memory_bytes = status.memoryBytes
        message.pointee.disk_bytes = status.diskBytes
        message.pointee.data_bytes = status.dataBytes
        message.pointee.recall_samples = status.recall.samples
        message.pointee.sampled_recall = status.recall.recall
        message.pointee.local_intrinsic_dimension = status.recall.localIntrinsicDimension
        return message
    }
}
