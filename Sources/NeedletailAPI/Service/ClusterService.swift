public import NeedletailCore
public import NeedletailGRPC

extension GRPCRouter {
    /// Serves the public API: `needletail.v1.Collections`, `Points`, `Cluster`, `Backups` and `Access`.
    public mutating func registerCluster(_ operations: any ClusterOperations) {
        registerCollections(operations)
        registerWrites(operations)
        registerReads(operations)
        registerStatus(operations)
        registerBackups(operations)
        registerMoves(operations)
        registerAccess(operations)
    }

    private mutating func registerCollections(_ operations: any ClusterOperations) {
        serveControl(PublicMethods.createCollection, PublicMessages.createCollection, PublicMessages.collection) { spec, deadline in
            try await operations.createCollection(spec, deadline: deadline)
        }
        serve(PublicMethods.getCollection, PublicMessages.getCollection, PublicMessages.collection) { name, deadline in
            try await operations.collection(name, deadline: deadline)
        }
        serve(PublicMethods.listCollections, PublicMessages.listCollections, PublicMessages.collections) { _, deadline in
            try await operations.collections(deadline: deadline)
        }
        serveControl(PublicMethods.updateCollection, PublicMessages.updateCollection, PublicMessages.collection) { update, deadline in
            try await operations.updateCollection(update.name, changes: update.changes, deadline: deadline)
        }
        serveControl(PublicMethods.trainCollection, PublicMessages.trainCollection, PublicMessages.collection) { request, deadline in
            var request = request
            request.deadline = deadline
            return try await operations.train(request)
        }
        serveControl(PublicMethods.deleteCollection, PublicMessages.deleteCollection, PublicMessages.collectionDeleted) {
            deletion, deadline in
            try await operations.deleteCollection(deletion.name, ignoreMissing: deletion.ignoreMissing, deadline: deadline)
        }
    }

    private mutating func registerWrites(_ operations: any ClusterOperations) {
        let writes: [(GRPCMethod, MessageCodec<PointsWrite>)] = [
            (PublicMethods.upsert, PublicMessages.upsert), (PublicMethods.delete, PublicMessages.delete),
            (PublicMethods.setPayload, PublicMessages.setPayload),
            (PublicMethods.overwritePayload, PublicMessages.overwritePayload),
            (PublicMethods.deletePayload, PublicMessages.deletePayload),
        ]
        for (method, codec) in writes {
            serve(method, codec, PublicMessages.written) { write, deadline in
                var write = write
                write.deadline = deadline
                return try await operations.write(write)
            }
        }
        clientStreaming(PublicMethods.upsertStream) { requests, context in
            try PublicMessages.streamWritten.encode(
                try await UpsertPipeline(operations: operations, deadline: context.deadline).run(requests))
        }
    }

    private mutating func registerReads(_ operations: any ClusterOperations) {
        serve(PublicMethods.get, PublicMessages.getPoints, PublicMessages.points) { request, deadline in
            var request = request
            request.deadline = deadline
            return try await operations.get(request)
        }
        serverStreaming(PublicMethods.scroll) { message, writer, context in
            var scroll = try PublicMessages.scroll.decode(message)
            scroll.pages.deadline = context.deadline
            try await ScrollLoop(operations: operations, writer: writer).run(scroll)
        }
        serve(PublicMethods.count, PublicMessages.count, PublicMessages.counted) { count, deadline in
            try await operations.count(count.collection, read: count.read, deadline: deadline)
        }
        serve(PublicMethods.search, PublicMessages.search, PublicMessages.found) { request, deadline in
            var request = request
            request.deadline = deadline
            return try await operations.search(request)
        }
        serve(PublicMethods.searchBatch, PublicMessages.searchBatch, PublicMessages.batchFound) { request, deadline in
            var request = request
            request.deadline = deadline
            return try await operations.search(request)
        }
    }

    private mutating func registerStatus(_ operations: any ClusterOperations) {
        serve(PublicMethods.status, PublicMessages.clusterStatusRequest, PublicMessages.clusterStatus) { _, deadline in
            try await operations.clusterStatus(deadline: deadline)
        }
        serve(PublicMethods.nodes, PublicMessages.listNodes, PublicMessages.nodes) { _, deadline in
            try await operations.nodes(deadline: deadline)
        }
        serve(PublicMethods.shards, PublicMessages.listShards, PublicMessages.shards) { collection, deadline in
            try await operations.shards(of: collection, deadline: deadline)
        }
    }
}
