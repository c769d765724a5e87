import CNeedletailMessages
import CProtobufC
import NeedletailCore

typealias AssignmentMessage = Needletail__Internal__V1__ReplicaAssignment
typealias SpecMessage = Needletail__Internal__V1__CollectionSpec

extension ReplicaAssignment {
    init(_ message: UnsafePointer<AssignmentMessage>) throws(NeedletailError) {
        let assignment = message.pointee
        self.init(
            shard: try ShardID(assignment.shard), range: try HashRange(assignment.range_first, assignment.range_last),
            epoch: assignment.epoch, collection: try CollectionSpec(try need(assignment.collection, "collection")),
            primary: NodeID(assignment.primary),
            members: try messages(assignment.members, assignment.n_members) { member in
                Member(node: NodeID(member.pointee.node), address: string(member.pointee.address), isInSync: member.pointee.in_sync != 0)
            },
            version: assignment.version)
    }
}

extension CollectionSpec {
    fileprivate init(_ message: UnsafePointer<SpecMessage>) throws(NeedletailError) {
        let spec = message.pointee
        try limited(spec.n_fields, Limits.fieldsPerCollection, "fields")
        let fields = try messages(spec.fields, spec.n_fields) { field throws(NeedletailError) in try VectorField(field) }
        let interval = Int(spec.interval_milliseconds)
        guard let raw = UInt8(exactly: spec.write_consistency), let consistency = WriteConsistency(rawValue: raw) else {
            throw NeedletailError(.invalidArgument, "write consistency \(spec.write_consistency) is unknown to this version")
        }
        self.init(
            name: string(spec.name), fields: fields, shardCount: Int(spec.shard_count),
            replicationFactor: Int(spec.replication_factor),
            durability: interval == 0 ? .everyCommit : .interval(milliseconds: interval), writeConsistency: consistency,
            minInSync: max(1, Int(spec.min_in_sync)))
    }
}

extension VectorField {
    init(_ message: UnsafePointer<Needletail__Internal__V1__Field>) throws(NeedletailError) {
        let field = message.pointee
        guard let raw = UInt8(exactly: field.metric), let metric = Metric(rawValue: raw) else {
            throw NeedletailError(.invalidArgument, "metric \(field.metric) is unknown to this version")
        }
        var index = try IndexSpec(text: string(field.index))
        index.graph = GraphParameters(m: Int(field.m), efConstruction: Int(field.ef_construction), seed: field.seed)
        self.init(
            name: string(field.name), dimensions: Int(field.dimensions), metric: metric,
            element: try VectorElement(number: field.element), index: index)
    }
}

extension NodeFacts {
    init(_ message: UnsafePointer<Needletail__Internal__V1__NodeFacts>) {
        let facts = message.pointee
        // NaN is no weight either.
        let weight = facts.weight > 0 && facts.weight.isFinite ? facts.weight : 1
        self.init(
            zone: string(facts.zone), weight: weight, memoryLimitBytes: facts.memory_limit_bytes, diskLimitBytes: facts.disk_limit_bytes,
            diskFreeBytes: facts.disk_free_bytes)
    }
}

extension NodeStatus {
    init(_ message: UnsafePointer<Needletail__Internal__V1__NodeStatus>) throws(NeedletailError) {
        self.init(
            replicas: try messages(message.pointee.replicas, message.pointee.n_replicas) { replica throws(NeedletailError) in
                try ReplicaStatus(replica)
            })
    }
}

extension ReplicaStatus {
    fileprivate init(_ message: UnsafePointer<Needletail__Internal__V1__ReplicaStatus>) throws(NeedletailError) {
        let replica = message.pointee
        guard let raw = UInt8(exactly: replica.state), let state = State(rawValue: raw) else {
            throw NeedletailError(.invalidArgument, "replica state \(replica.state) is unknown to this version")
        }
        self.init(
            shard: try ShardID(replica.shard), state: state, reason: string(replica.reason), epoch: replica.epoch,
            appliedSequence: replica.applied_sequence, pointCount: replica.points, memoryBytes: replica.memory_bytes,
            diskBytes: replica.disk_bytes, dataBytes: replica.data_bytes, workNanoseconds: replica.work_nanoseconds,
            recall: SampledRecall(
                samples: replica.recall_samples, recall: replica.sampled_recall,
                localIntrinsicDimension: replica.local_intrinsic_dimension),
            codecs: try Self.codecs(replica))
    }
}

extension ReplicaStatus {
    private static func codecs(_ replica: Needletail__Internal__V1__ReplicaStatus) throws(NeedletailError) -> [Int: CodecProgress] {
        try limited(replica.n_codecs, Limits.fieldsPerCollection, "codecs")
        let codecs = try messages(replica.codecs, replica.n_codecs) { codec throws(NeedletailError) in
            let progress = CodecProgress(
                version: codec.pointee.version, encoded: codec.pointee.encoded, total: codec.pointee.total, problem: string(codec.pointee.problem))
            return (Int(codec.pointee.field), progress)
        }
        return Dictionary(codecs) { $1 }
    }
}

extension MessageArena {
    func assignment(_ assignment: ReplicaAssignment) throws(NeedletailError) -> UnsafeMutablePointer<AssignmentMessage> {
        let message = try make(AssignmentMessage.self)
        message.pointee.shard = try shardID(assignment.shard)
        message.pointee.range_first = assignment.range.first
        message.pointee.range_last = assignment.range.last
        message.pointee.epoch = assignment.epoch
        message.pointee.collection = try spec(assignment.collection)
        message.pointee.primary = assignment.primary.value
        message.pointee.version = assignment.version
        message.pointee.n_members = assignment.members.count
        message.pointee.members = try list(assignment.members) { member throws(NeedletailError) in
            let part = try make(Needletail__Internal__V1__Member.self)
            part.pointee.node = member.node.value
            part.pointee.address = try text(member.address)
            part.pointee.in_sync = member.isInSync ? 1 : 0
            return part
        }
        return message
    }

    private func spec(_ spec: CollectionSpec) throws(NeedletailError) -> UnsafeMutablePointer<SpecMessage> {
        let message = try make(SpecMessage.self)
        message.pointee.name = try text(spec.name)
        message.pointee.n_fields = spec.fields.count
        message.pointee.fields = try list(spec.fields, internalField)
        message.pointee.shard_count = UInt32(clamping: spec.shardCount)
        message.pointee.replication_factor = UInt32(clamping: spec.replicationFactor)
        message.pointee.write_consistency = UInt32(spec.writeConsistency.rawValue)
        message.pointee.min_in_sync = UInt32(clamping: spec.minInSync)
        if case .interval(let milliseconds) = spec.durability {
            message.pointee.interval_milliseconds = UInt32(clamping: milliseconds)
        }
        return message
    }

    func internalField(_ field: VectorField) throws(NeedletailError) -> UnsafeMutablePointer<
        Needletail__Internal__V1__Field
    > {
        let message = try make(Needletail__Internal__V1__Field.self)
        message.pointee.name = try text(field.name)
        message.pointee.dimensions = UInt32(clamping: field.dimensions)
        message.pointee.metric = UInt32(field.metric.rawValue)
        message.pointee.element = UInt32(field.element.rawValue)
        message.pointee.m = UInt32(clamping: field.graph.m)
        message.pointee.ef_construction = UInt32(clamping: field.graph.efConstruction)
        message.pointee.seed = field.graph.seed
        message.pointee.index = try text(field.index.description)
        return message
    }

    func facts(_ facts: NodeFacts) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__Internal__V1__NodeFacts> {
        let message = try make(Needletail__Internal__V1__NodeFacts.self)
        message.pointee.zone = try text(facts.zone)
        message.pointee.weight = facts.weight
        message.pointee.memory_limit_bytes = facts.memoryLimitBytes
        message.pointee.disk_limit_bytes = facts.diskLimitBytes
        message.pointee.disk_free_bytes = facts.diskFreeBytes
        return message
    }

    func nodeStatus(_ status: NodeStatus) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__Internal__V1__NodeStatus> {
        let message = try make(Needletail__Internal__V1__NodeStatus.self)
        message.pointee.n_replicas = status.replicas.count
        message.pointee.replicas = try list(status.replicas, replicaStatus)
        return message
    }

    private func replicaStatus(
        _ replica: ReplicaStatus
    ) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__Internal__V1__ReplicaStatus> {
        let message = try make(Needletail__Internal__V1__ReplicaStatus.self)
        message.pointee.shard = try shardID(replica.shard)
        message.pointee.state = UInt32(replica.state.rawValue)
        message.pointee.reason = try text(replica.reason.withoutNUL)
        message.pointee.epoch = replica.epoch
        message.pointee.applied_sequence = replica.appliedSequence
        message.pointee.points = replica.pointCount
        message.pointee.memory_bytes = replica.memoryBytes
        message.pointee.disk_bytes = replica.diskBytes
        message.pointee.data_bytes = replica.dataBytes
        message.pointee.work_nanoseconds = replica.workNanoseconds
        message.pointee.recall_samples = replica.recall.samples
        message.pointee.sampled_recall = replica.recall.recall
        message.pointee.local_intrinsic_dimension = replica.recall.localIntrinsicDimension
        message.pointee.n_codecs = replica.codecs.count
        message.pointee.codecs = try list(replica.codecs.sorted { $0.key < $1.key }, codecProgress)
        return message
    }

    private func codecProgress(
        _ codec: (key: Int, value: CodecProgress)
    ) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__Internal__V1__CodecProgress> {
        let message = try make(Needletail__Internal__V1__CodecProgress.self)
        message.pointee.field = UInt32(clamping: codec.key)
        message.pointee.version = codec.value.version
        message.pointee.encoded = codec.value.encoded
        message.pointee.total = codec.value.total
        message.pointee.problem = try text(codec.value.problem.withoutNUL)
        return message
    }
}
