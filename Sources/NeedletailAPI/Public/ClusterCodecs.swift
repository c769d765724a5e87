import CNeedletailMessages
import CProtobufC
public import NeedletailCore

extension PublicMessages {
    public static let clusterStatusRequest = MessageCodec<Void>(
        write: { _, arena throws(NeedletailError) in try arena.make(Needletail__V1__ClusterStatusRequest.self) },
        read: { (_: UnsafePointer<Needletail__V1__ClusterStatusRequest>) in })

    public static let clusterStatus = MessageCodec<ClusterStatus>(
        write: { status, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__ClusterStatusResponse.self)
            message.pointee.cluster_id = try arena.text(hexadecimal(status.clusterID))
            message.pointee.version = try arena.text(status.version)
            message.pointee.nodes_total = UInt32(clamping: status.nodesTotal)
            message.pointee.nodes_alive = UInt32(clamping: status.nodesAlive)
            message.pointee.collections = UInt32(clamping: status.collections)
            message.pointee.shards_total = UInt32(clamping: status.shardsTotal)
            message.pointee.shards_ready = UInt32(clamping: status.shardsReady)
            message.pointee.points = status.points
            message.pointee.n_coordinators = status.coordinators.count
            message.pointee.coordinators = try arena.list(status.coordinators, arena.coordinator)
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__ClusterStatusResponse>) throws(NeedletailError) in
            let status = message.pointee
            let coordinators = try messages(status.coordinators, status.n_coordinators) { coordinator throws(NeedletailError) in
                try CoordinatorInfo(coordinator)
            }
            return ClusterStatus(
                clusterID: try hexadecimal(string(status.cluster_id), "cluster_id"), version: string(status.version),
                nodesTotal: Int(status.nodes_total), nodesAlive: Int(status.nodes_alive), collections: Int(status.collections),
                shardsTotal: Int(status.shards_total), shardsReady: Int(status.shards_ready), points: status.points,
                coordinators: coordinators)
        })

    public static let listNodes = MessageCodec<Void>(
        write: { _, arena throws(NeedletailError) in try arena.make(Needletail__V1__ListNodesRequest.self) },
        read: { (_: UnsafePointer<Needletail__V1__ListNodesRequest>) in })

    public static let nodes = MessageCodec<[NodeInfo]>(
        write: { nodes, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__ListNodesResponse.self)
            message.pointee.n_nodes = nodes.count
            message.pointee.nodes = try arena.list(nodes, arena.node)
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__ListNodesResponse>) throws(NeedletailError) in
            try messages(message.pointee.nodes, message.pointee.n_nodes) { node throws(NeedletailError) in try NodeInfo(node) }
        })

    /// A collection's name; nil for all collections.
    public static let listShards = MessageCodec<String?>(
        write: { collection, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__ListShardsRequest.self)
            message.pointee.collection = try arena.text(collection ?? "")
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__ListShardsRequest>) in
            let name = string(message.pointee.collection)
            return name.isEmpty ? nil : name
        })

    public static let shards = MessageCodec<[ShardInfo]>(
        write: { shards, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__ListShardsResponse.self)
            message.pointee.n_shards = shards.count
            message.pointee.shards = try arena.list(shards, arena.shard)
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__ListShardsResponse>) throws(NeedletailError) in
            try messages(message.pointee.shards, message.pointee.n_shards) { shard throws(NeedletailError) in try ShardInfo(shard) }
        })
}
