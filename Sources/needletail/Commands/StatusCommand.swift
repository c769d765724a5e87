import ArgumentParser
import NeedletailClient
import NeedletailJSON

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show how the cluster, its nodes and its shards are.")
    @OptionGroup var options: ClusterOptions

    func run() async throws {
        try await options.withCluster { cluster in
            let status = try await cluster.clusterStatus(deadline: options.deadline)
            let nodes = try await cluster.nodes(deadline: options.deadline)
            let shards = try await cluster.shards(of: nil, deadline: options.deadline)
            let collections = try await cluster.collections(deadline: options.deadline)
            if options.json {
                var entries = json(status, nodes, shards)
                entries["codecs"] = .list(collections.map(\.json))
                return print(JSONWriter.text(entries))
            }
            print(
                "cluster \(Incarnation(status.clusterID)), version \(status.version): \(status.nodesAlive) of \(status.nodesTotal) nodes alive, "
                    + "\(status.shardsReady) of \(status.shardsTotal) shards ready, \(status.collections) collections, \(status.points) points\n"
            )
            show(status.coordinators)
            show(nodes)
            if !shards.isEmpty { show(shards) }
            show(collections)
        }
    }

    private func show(_ collections: [CollectionInfo]) {
        var table = Table("COLLECTION", "FIELD", "INDEX", "CODEC")
        for info in collections {
            for (number, field) in info.spec.fields.enumerated() {
                if let codec = info.codec(number) { table.add(info.spec.name, field.name, "\(field.index)", codec.option) }
            }
        }
        if table.isEmpty { return }
        print()
        table.print()
    }

    /// Of several coordinators; one alone goes without saying.
    private func show(_ coordinators: [CoordinatorInfo]) {
        guard coordinators.count > 1 || coordinators.contains(where: { !$0.isLeader }) else { return }
        var table = Table("COORDINATOR", "ADDRESS", "ROLE")
        for coordinator in coordinators {
            table.add(Incarnation(coordinator.id).description, coordinator.address, coordinator.isLeader ? "leader" : "")
        }
        table.print()
        print(coordinators.contains(where: \.isLeader) ? "" : "no coordinator leads: collections cannot be made or changed until one does\n")
    }

    private func show(_ nodes: [NodeInfo]) {
        guard !nodes.isEmpty else { return print("no nodes; start one with needletail-shard") }
        var table = Table("NODE", "ADDRESS", "STATE", "HEARD", "REPLICAS", "POINTS", "MEMORY", "DISK")
        for node in nodes {
            table.add(
                Incarnation(node.id).description, node.address, node.state,
                "\(Readable.tenths(node.heartbeatAge.milliseconds / 1000)) s ago", "\(node.replicas)", "\(node.points)",
                Readable.bytes(node.memoryBytes), Readable.bytes(node.diskBytes))
        }
        table.print()
        print()
    }

    private func show(_ shards: [ShardInfo]) {
        var table = Table("COLLECTION", "SHARD", "NODE", "ROLE", "STATE", "SEQUENCE", "POINTS", "RECALL", "MEMORY", "DISK", "REASON")
        for shard in shards {
            for replica in shard.replicas {
                let status = replica.status
                table.add(
                    shard.collection, "\(shard.number)", Incarnation(replica.node).description,
                    replica.isPrimary ? "primary" : replica.isInSync ? "in sync" : "catching up",
                    status.map { "\($0.state)" } ?? "unknown", "\(status?.appliedSequence ?? 0)", "\(status?.pointCount ?? 0)",
                    status.map { Self.recall($0.recall) } ?? "",
                    Readable.bytes(status?.memoryBytes ?? 0), Readable.bytes(status?.diskBytes ?? 0), status?.reason ?? "")
            }
        }
        table.print()
    }

    /// The sampled recall with the number of samples it rests on.
    private static func recall(_ sampled: SampledRecall) -> String {
        sampled.samples == 0 ? "" : "\(Double(Int(sampled.recall * 1000)) / 1000) (\(sampled.samples))"
    }

    private func json(_ status: ClusterStatus, _ nodes: [NodeInfo], _ shards: [ShardInfo]) -> Payload {
        [
            "cluster_id": .string(Incarnation(status.clusterID).description), "version": .string(status.version),
            "nodes_total": .count(status.nodesTotal), "nodes_alive": .count(status.nodesAlive),
            "collections": .count(status.collections),
            "shards_total": .count(status.shardsTotal), "shards_ready": .count(status.shardsReady), "points": .count(status.points),
            "coordinators": .list(status.coordinators.map(json)), "nodes": .list(nodes.map(\.json)), "shards": .list(shards.map(\.json)),
        ]
    }

    private func json(_ coordinator: CoordinatorInfo) -> PayloadValue {
        .map([
            "id": .string(Incarnation(coordinator.id).description), "address": .string(coordinator.address), "leader": .bool(coordinator.isLeader),
        ])
    }
}

extension NodeInfo {
    var json: PayloadValue {
        .map([
            "id": .string(Incarnation(id).description), "address": .string(address), "alive": .bool(isAlive),
            "replicas": .count(replicas), "points": .count(points), "memory_bytes": .count(memoryBytes),
            "disk_bytes": .count(diskBytes), "heartbeat_age_milliseconds": .double(heartbeatAge.milliseconds), "zone": .string(facts.zone),
            "weight": .double(facts.weight), "memory_limit_bytes": .count(facts.memoryLimitBytes), "disk_limit_bytes": .count(facts.diskLimitBytes),
            "disk_free_bytes": .count(facts.diskFreeBytes), "drained": .bool(isDrained),
            "work": .double(work),
        ])
    }
}

extension ShardInfo {
    var json: PayloadValue {
        let replicas = self.replicas.map { replica in
            PayloadValue.map([
                "node": .string(Incarnation(replica.node).description), "primary": .bool(replica.isPrimary),
                "in_sync": .bool(replica.isInSync),
                "state": .string(replica.status.map { "\($0.state)" } ?? "unknown"),
                "reason": .string(replica.status?.reason ?? ""),
                "applied_sequence": .count(replica.status?.appliedSequence ?? 0), "points": .count(replica.status?.pointCount ?? 0),
                "memory_bytes": .count(replica.status?.memoryBytes ?? 0), "disk_bytes": .count(replica.status?.diskBytes ?? 0),
                "recall_samples": .count(replica.status?.recall.samples ?? 0),
                "sampled_recall": .double(replica.status?.recall.recall ?? 0),
                "local_intrinsic_dimension": .double(replica.status?.recall.localIntrinsicDimension ?? 0),
            ])
        }
        return .map([
            "collection": .string(collection), "shard": .count(number), "epoch": .count(epoch),
            "work": .double(work), "replicas": .list(replicas),
        ])
    }
}
