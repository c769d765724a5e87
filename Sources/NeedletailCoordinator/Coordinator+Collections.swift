internal import NeedletailCluster
public import NeedletailCore
internal import NeedletailMetadata
internal import Synchronization

extension Coordinator {
    public func createCollection(_ spec: CollectionSpec, deadline: Deadline?) async throws -> CollectionInfo {
        try spec.validate()
        return try await exclusively(spec.name) {
            let entry = try plan(spec)
            guard try await store(entry, replacing: nil) else {
                throw NeedletailError(.alreadyExists, "a collection \"\(spec.name)\" exists already; delete it first or choose another name")
            }
            do {
                return try await finishCreation(entry)
            } catch {
                // What was made goes away again, so that the name is free; what cannot be removed now is removed by the clean-up.
                var doomed = entry
                doomed.state = .deleting
                if try await store(doomed, replacing: entry) { try? await finishDeletion(doomed) }
                throw error
            }
        }
    }

    private func plan(_ spec: CollectionSpec) throws(NeedletailError) -> CollectionEntry {
        let (nodes, load, exists) = state.withLock { state in
            var load: [NodeID: Int] = [:]
            for collection in state.collections.values { for shard in collection.shards { load[shard.primary, default: 0] += 1 } }
            return (state.membership.placeable(now: .now), load, state.collections[spec.name] != nil)
        }
        guard !exists else {
            throw NeedletailError(.alreadyExists, "a collection \"\(spec.name)\" exists already; delete it first or choose another name")
        }
        return CollectionEntry(
            spec: spec, incarnation: Incarnation(UInt64.random(in: 1...UInt64.max)), state: .creating,
            shards: try Placement.place(shards: spec.shardCount, on: nodes, load: load))
    }

    /// Makes every replica and then the collection visible. May be repeated.
    private func finishCreation(_ entry: CollectionEntry) async throws -> CollectionInfo {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for place in entry.shards {
                let assignment = entry.assignment(place)
                group.addTask { try await self.ask(place.primary, about: [assignment.shard]) { try await $0.createReplica(assignment) } }
            }
            try await group.waitForAll()
        }
        var active = entry
        active.state = .active
        guard try await store(active, replacing: entry) else {
            throw NeedletailError(.aborted, "collection \"\(entry.spec.name)\" was changed by another coordinator; try again")
        }
        return CollectionInfo(spec: active.spec, incarnation: active.incarnation)
    }

    public func deleteCollection(_ name: String, ignoreMissing: Bool, deadline: Deadline?) async throws -> Bool {
        try await exclusively(name) {
            guard let entry = state.withLock({ $0.collections[name] }), entry.state == .active else {
                if ignoreMissing { return false }
                throw NeedletailError(.notFound, "there is no collection \"\(name)\"; `needletail collection list` shows those there are")
            }
            var doomed = entry
            doomed.state = .deleting
            guard try await store(doomed, replacing: entry) else {
                throw NeedletailError(.aborted, "collection \"\(name)\" was changed by another coordinator; try again")
            }
            try await finishDeletion(doomed)
            return true
        }
    }

    /// Drops the replicas of nodes that answer and forgets the collection; a node that is away learns from its next heartbeat that its
    /// replica is nobody's.
    private func finishDeletion(_ entry: CollectionEntry) async throws {
        await withTaskGroup(of: Void.self) { group in
            for place in entry.shards {
                let shard = entry.shardID(place)
                group.addTask { try? await self.ask(place.primary, about: [shard]) { try await $0.dropReplica(shard) } }
            }
        }
        guard try await metadata.replace(Self.collectionsPrefix + entry.spec.name, expected: entry.encoded, with: nil) else { return }
        state.withLock { $0.collections[entry.spec.name] = nil }
    }

    public func updateCollection(_ name: String, durability: Durability?, deadline: Deadline?) async throws -> CollectionInfo {
        try await exclusively(name) {
            let entry = try entry(name)
            var changed = entry
            changed.spec.durability = durability ?? entry.spec.durability
            try changed.spec.validate()
            guard try await store(changed, replacing: entry) else {
                throw NeedletailError(.aborted, "collection \"\(name)\" was changed by another coordinator; try again")
            }
            try await push(changed)
            return CollectionInfo(spec: changed.spec, incarnation: changed.incarnation)
        }
    }

    /// Tells every worker the collection's definition: `createReplica` updates a replica that is there. All are told before the first
    /// error is thrown; a worker that is away learns it from its next heartbeat.
    private func push(_ entry: CollectionEntry) async throws {
        var failure: NeedletailError?
        await withTaskGroup(of: NeedletailError?.self) { group in
            for place in entry.shards {
                let assignment = entry.assignment(place)
                group.addTask {
                    do throws(NeedletailError) {
                        try await self.ask(place.primary, about: [assignment.shard]) { try await $0.createReplica(assignment) }
                        return nil
                    } catch {
                        return error
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
        let entry = try entry(name)
        return CollectionInfo(spec: entry.spec, incarnation: entry.incarnation)
    }

    public func collections(deadline: Deadline?) async throws -> [CollectionInfo] {
        state.withLock { Array($0.collections.values) }
            .filter { $0.state == .active }
            .map { CollectionInfo(spec: $0.spec, incarnation: $0.incarnation) }
            .sorted { $0.spec.name < $1.spec.name }
    }

    /// Finishes what a crash or an absent node left half done: called on the clock.
    public func cleanUp() async {
        for entry in state.withLock({ Array($0.collections.values) }) where entry.state != .active {
            _ = try? await exclusively(entry.spec.name) {
                guard state.withLock({ $0.collections[entry.spec.name] }) == entry else { return }
                if entry.state == .creating { _ = try await finishCreation(entry) } else { try await finishDeletion(entry) }
            }
        }
    }

    /// Writes the entry to the metadata store and then to the map. False when the store held something else than `old`.
    private func store(_ entry: CollectionEntry, replacing old: CollectionEntry?) async throws -> Bool {
        let key = Self.collectionsPrefix + entry.spec.name
        guard try await metadata.replace(key, expected: old?.encoded, with: entry.encoded) else { return false }
        state.withLock { $0.collections[entry.spec.name] = entry }
        return true
    }

    /// One control operation at a time on a name.
    private func exclusively<Value>(_ name: String, _ body: () async throws -> Value) async throws -> Value {
        guard state.withLock({ $0.busy.insert(name).inserted }) else {
            throw NeedletailError(.aborted, "another operation on collection \"\(name)\" is under way; try again when it has ended")
        }
        defer { state.withLock { _ = $0.busy.remove(name) } }
        return try await body()
    }
}
