public import NeedletailCore
public import NeedletailGRPC

extension GRPCRouter {
    /// Serves `needletail.internal.v1.ShardWorker`: what a shard worker does for coordinators.
    public mutating func registerShardWorker(_ operations: any ShardOperations) {
        serve(InternalMethods.write, InternalMessages.write, InternalMessages.written) { request, deadline in
            var request = request
            request.deadline = deadline
            return try await operations.write(request)
        }
        serve(InternalMethods.search, InternalMessages.search, InternalMessages.found) { request, deadline in
            var request = request
            request.deadline = deadline
            return try await operations.search(request)
        }
        serve(InternalMethods.searchEach, InternalMessages.searchEach, InternalMessages.foundEach) { requests, _ in
            await operations.searchEach(requests)
        }
        serve(InternalMethods.get, InternalMessages.get, InternalMessages.points) { request, deadline in
            var request = request
            request.deadline = deadline
            return try await operations.get(request)
        }
        serve(InternalMethods.scroll, InternalMessages.scroll, InternalMessages.scrollPage) { request, deadline in
            var request = request
            request.deadline = deadline
            return try await operations.scroll(request)
        }
        serve(InternalMethods.count, InternalMessages.count, InternalMessages.counted) { count, deadline in
            try await operations.count(count.shard, within: count.filter, condition: count.condition, deadline: deadline)
        }
        serve(InternalMethods.createReplica, InternalMessages.assignment, InternalMessages.empty) { assignment, deadline in
            try await operations.createReplica(assignment, deadline: deadline)
        }
        serve(InternalMethods.updateReplica, InternalMessages.assignment, InternalMessages.empty) { assignment, deadline in
            try await operations.updateReplica(assignment, deadline: deadline)
        }
        serve(InternalMethods.dropReplica, InternalMessages.shard, InternalMessages.empty) { shard, deadline in
            try await operations.dropReplica(shard, deadline: deadline)
        }
        serve(InternalMethods.sample, InternalMessages.sample, InternalMessages.sampled) { request, deadline in
            var request = request
            request.deadline = deadline
            return try await operations.sample(request)
        }
        serve(InternalMethods.train, InternalMessages.train, InternalMessages.trained) { request, deadline in
            var request = request
            request.deadline = deadline
            return try await operations.train(request)
        }
        serve(InternalMethods.status, InternalMessages.empty, InternalMessages.nodeStatus) { _, _ in try await operations.status() }
    }

    /// Serves `needletail.internal.v1.Membership`: what a coordinator does for shard workers.
    public mutating func registerMembership(_ operations: any MembershipOperations) {
        serve(InternalMethods.heartbeat, InternalMessages.heartbeat, InternalMessages.heartbeatAnswer) { heartbeat, _ in
            try await operations.heartbeat(heartbeat)
        }
    }
}
