internal import NeedletailCluster
public import NeedletailCore
internal import NeedletailMetadata
internal import Synchronization

extension Coordinator {
    public func createCollection(_ spec: CollectionSpec, deadline: Deadline?) async throws -> CollectionInfo {
        try spec.validate()
        for field in spec.fields { try TrainingPolicy.check(field) }
        if let leader = try leaderElsewhere() {
            let info = try await leader.createCollection(spec, deadline: deadline)
            await waitForCopy(deadline) { $0.collections.values[spec.name].map { $0.incarnation == info.incarnation && $0.state == .active } ?? false }
            return info
        }
        return try await exclusively(spec.name, deadline) {
            let entry = try plan(spec)
            guard try await store(entry, replacing: nil) else {
                throw NeedletailError(.alreadyExists, "a collection \"\(spec.name)\" exists already; delete it first or choose another name")
            }
            do {
                return try await finishCreation(entry, deadline)
            } catch {
                // What was made goes away again, so that the name is free. Nobody waits any more when time ran out or the caller has
                // left: then, as with what cannot be removed now, the clean-up does it.
                var doomed = entry
                doomed.state = .deleting
                let isStored = (try? await store(doomed, replacing: entry)) ?? false
                if isStored, !Task.isCancelled, deadline?.isPast != true { try? await finishDeletion(doomed, deadline) }
                throw error
            }
        }
    }

    private func plan(_ spec: CollectionSpec) throws(NeedletailError) -> CollectionEntry {
        let (nodes, load, standing, exists) = state.withLock { state in
            (state.placeable, state.replicaCounts, state.standings, state.collections[spec.name] != nil)
        }
        guard !exists else {
            throw NeedletailError(.alreadyExists, "a collection \"\(spec.name)\" exists already; delete it first or choose another name")
        }
        return CollectionEntry(
            spec: spec, incarnation: Incarnation(UInt64.random(in: 1...UInt64.max)), state: .creating,
            shards: try Placement.place(shards: spec.shardCount, replicas: spec.replicationFactor, on: nodes, load: load, standing: standing))
    }

    /// Makes every replica and then the collection visible. May be repeated.
    private func finishCreation(_ entry: CollectionEntry, _ deadline: Deadline?) async throws -> CollectionInfo {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for place in entry.shards {
                let assignment = assignment(place, of: entry)
                for node in place.replicas { group.addTask { try await self.make(assignment, on: node, deadline) } }
            }
            try await group.waitForAll()
        }
        var active = entry
        active.state = .active
        guard try await store(active, replacing: entry) else {
            throw NeedletailError(.aborted, "collection \"\(entry.spec.name)\" was changed by another coordinator; try again")
        }
        return info(active)
    }

    /// Makes a replica. From then on it counts as serving, without a heartbeat.
    func make(_ assignment: ReplicaAssignment, on node: NodeID, _ deadline: Deadline?) async throws(NeedletailError) {
        try await ask(node, about: [assignment.shard]) { try await $0.createReplica(assignment, deadline: deadline) }
        state.withLock { $0.membership.serves(assignment.shard, epoch: assignment.epoch, on: node) }
    }

    /// Tells a replica its collection's definition and its fellows.
    func tell(_ assignment: ReplicaAssignment, on node: NodeID, _ deadline: Deadline?) async throws(NeedletailError) {
        try await ask(node, about: [assignment.shard]) { try await $0.updateReplica(assignment, deadline: deadline) }
        state.withLock { $0.membership.serves(assignment.shard, epoch: assignment.epoch, on: node) }
    }

    public func deleteCollection(_ name: String, ignoreMissing: Bool, deadline: Deadline?) async throws -> Bool {
        if let leader = try leaderElsewhere() {
            let former = state.withLock { $0.collections[name]?.incarnation }
            let wasThere = try await leader.deleteCollection(name, ignoreMissing: ignoreMissing, deadline: deadline)
            await waitForCopy(deadline) { copy in copy.collections.values[name].map { $0.incarnation != former || $0.state == .deleting } ?? true }
            return wasThere
        }
        return try await exclusively(name, deadline) {
            guard let entry = state.withLock({ $0.collections[name] }), entry.state == .active else {
                if ignoreMissing { return false }
                throw NeedletailError(.notFound, "there is no collection \"\(name)\"; `needletail collection list` shows those there are")
            }
            var doomed = entry
            doomed.state = .deleting
            guard try await store(doomed, replacing: entry) else {
                throw NeedletailError(.aborted, "collection \"\(name)\" was changed by another coordinator; try again")
            }
            try await finishDeletion(doomed, deadline)
            return true
        }
    }

    /// Drops the replicas of nodes that answer in time and forgets the collection; a node that is away learns from its next heartbeat
    /// that its replica is nobody's.
    private func finishDeletion(_ entry: CollectionEntry, _ deadline: Deadline?) async throws {
        await withTaskGroup(of: Void.self) { group in
            for place in entry.shards {
                let shard = entry.shardID(place)
                for node in place.replicas { group.addTask { await self.drop(shard, on: node, deadline) } }
            }
        }
        guard try await store(nil, replacing: entry, name: entry.spec.name) else { return }
        for place in entry.shards { failover.receive(.removed(entry.shardID(place))) }
        state.withLock { $0.hedging[entry.incarnation] = nil }
    }

    private func drop(_ shard: ShardID, on node: NodeID, _ deadline: Deadline?) async {
        do {
            try await ask(node, about: [shard]) { try await $0.dropReplica(shard, deadline: deadline) }
            state.withLock { $0.membership.dropped(shard, by: node) }
        } catch {}
    }

    public func updateCollection(_ name: String, changes: CollectionChanges, deadline: Deadline?) async throws -> CollectionInfo {
        if let leader = try leaderElsewhere() {
            let info = try await leader.updateCollection(name, changes: changes, deadline: deadline)
            await waitForCopy(deadline) { $0.collections.values[name]?.spec == info.spec }
            return info
        }
        return try await exclusively(name, deadline) {
            let entry = try entry(name)
            var changed = entry
            changed.spec.durability = changes.durability ?? entry.spec.durability
            changed.spec.replicationFactor = changes.replicationFactor ?? entry.spec.replicationFactor
            changed.spec.writeConsistency = changes.writeConsistency ?? entry.spec.writeConsistency
            changed.spec.minInSync = changes.minInSync ?? entry.spec.minInSync
            try changed.spec.validate()
            if changed.spec.replicationFactor > entry.spec.replicationFactor {
                try Placement.check(replicas: changed.spec.replicationFactor, on: state.withLock { $0.placeable.count })
            }
            guard try await store(changed, replacing: entry) else {
                throw NeedletailError(.aborted, "collection \"\(name)\" was changed by another coordinator; try again")
            }
            try await push(changed, deadline)
            return info(changed)
        }
    }

    /// Tells every worker the collection's definition. All are told before the first
    /// error is thrown; a worker that is away learns it from its next heartbeat.
    private func push(_ entry: CollectionEntry, _ deadline: Deadline?) async throws {
        var failure: NeedletailError?
        await withTaskGroup(of: NeedletailError?.self) { group in
            for place in entry.shards {
                let assignment = assignment(place, of: entry)
                for node in place.replicas {
                    group.addTask {
                        do throws(NeedletailError) {
                            try await self.tell(assignment, on: node, deadline)
                            return nil
                        } catch {
                            // Fewer replicas are wanted, and this one was dropped meanwhile.
                            if let (_, newer) = self.place(of: assignment.shard), !newer.replicas.contains(node) { return nil }
                            return error
                        }
                    }
                }
            }
            for await error in group { failure = failure ?? error }
        }
        if var failure {
            failure.message = "the change is stored, and workers that are away will follow when they are back: " + failure.message
            throw failure
        }
    }

    public func collection(_ name: String, deadline: Deadline?) async throws -> CollectionInfo {
        info(try entry(name))
    }

    public func collections(deadline: Deadline?) async throws -> [CollectionInfo] {
        state.withLock { Array($0.collections.values) }
            .filter { $0.state == .active }
            .map(info)
            .sorted { $0.spec.name < $1.spec.name }
    }

    /// Finishes, on the leader, what a crash or an absent node left half done: called on the clock.
    public func cleanUp() async {
        guard isLeader else { return }
        for entry in state.withLock({ Array($0.collections.values) }) where entry.state == .creating || entry.state == .deleting {
            _ = try? await exclusively(entry.spec.name, nil) {
                guard state.withLock({ $0.collections[entry.spec.name] }) == entry else { return }
                if entry.state == .creating { _ = try await finishCreation(entry, nil) } else { try await finishDeletion(entry, nil) }
            }
        }
    }

    /// Writes the entry to the metadata store and then to the copy. False when the store held something else than `old`, or another
    /// coordinator leads.
    func store(_ entry: CollectionEntry, replacing old: CollectionEntry?) async throws -> Bool {
        guard try await store(entry, replacing: old, name: entry.spec.name) else { return false }
        tellFailover(entry)
        return true
    }

    private func store(_ entry: CollectionEntry?, replacing old: CollectionEntry?, name: String) async throws -> Bool {
        let key = MetadataCopy.collectionsPrefix + name
        var comparison = MetadataComparison.absent(key)
        if let old {
            guard let revision = state.withLock({ $0.collections[name] == old ? $0.copy.collections.revision(name) : nil }) else { return false }
            comparison = .revision(key, revision)
        }
        let outcome = try await transactAsLeader(if: [comparison], [entry.map { .put(key, $0.encoded) } ?? .delete(key)])
        if outcome.succeeded { state.withLock { $0.copy.collections.change(name, to: entry, revision: outcome.revision) } }
        return outcome.succeeded
    }

    func tellFailover(_ entry: CollectionEntry) {
        for place in entry.shards {
            let shard = entry.shardID(place)
            failover.receive(entry.state == .deleting ? .removed(shard) : .place(shard, place))
        }
    }

    /// What the nodes of a shard are told.
    func assignment(_ place: ShardPlace, of entry: CollectionEntry) -> ReplicaAssignment {
        let addresses = state.withLock { state in place.replicas.reduce(into: [:]) { $0[$1] = state.address(of: $1) } }
        return entry.assignment(place) { addresses[$0] }
    }

    /// One control operation at a time on a name, begun before its deadline.
    func exclusively<Value>(_ name: String, _ deadline: Deadline?, _ body: () async throws -> Value) async throws -> Value {
        try deadline?.check(before: "the operation on collection \"\(name)\" began")
        guard state.withLock({ $0.busy.insert(name).inserted }) else {
            throw NeedletailError(.aborted, "another operation on collection \"\(name)\" is under way; try again when it has ended")
        }
        defer { state.withLock { _ = $0.busy.remove(name) } }
        return try await body()
    }
}
