internal import NeedletailCluster
internal import NeedletailCore
internal import Synchronization

// A request is answered by one map's shards: what began with a map in which a shard is no more begins again with the next one. So the parts of a
// shard that was split never answer beside it.
extension Coordinator {
    /// The collection, and the read as it is to be understood of its shards. A session that knows later shards waits for the map to know them.
    private func current(_ name: String, _ read: ReadOptions, _ deadline: Deadline?) async throws(NeedletailError) -> (CollectionEntry, ReadOptions) {
        var entry = try entry(name)
        if entry.isOlder(than: read.session) {
            await waitForCopy(deadline) { copy in !(copy.collections.values[name]?.isOlder(than: read.session) ?? false) }
            entry = try self.entry(name)
        }
        return (entry, entry.adapted(read))
    }

    /// Reads from the shards of one map, and all over again when a shard of it was split meanwhile.
    func onOneMap<Value>(
        _ name: String, _ read: ReadOptions, _ deadline: Deadline?, _ body: (CollectionEntry, ReadOptions) async throws -> Value
    ) async throws -> Value {
        let end = deadline ?? .after(Self.patience)
        while true {
            let (entry, adapted) = try await current(name, read, deadline)
            do {
                return try await body(entry, adapted)
            } catch {
                guard await isOutdated(entry, by: Self.wrap(error), before: end) else { throw error }
            }
        }
    }

    /// Whether an error may come of a map that is not the newest; a shard that is not there, or takes no requests in its epoch, surely comes of
    /// one, and then news of it are waited for.
    func isOutdated(_ entry: CollectionEntry, by error: NeedletailError, before end: Deadline) async -> Bool {
        guard Self.mayPass(error), !end.isPast else { return false }
        if resharded(entry) == nil, error.code == .aborted || error.code == .notFound {
            let patience = error.code == .aborted ? end : min(end, .after(Self.mapPatience))
            let name = entry.spec.name
            while state.withLock({ $0.collections[name].map { $0.isLike(entry) } ?? false }), !patience.isPast, !Task.isCancelled {
                try? await Task.sleep(for: .milliseconds(5))
            }
        }
        return resharded(entry) != nil
    }

    /// A replica may also be missing because its files are.
    private static let mapPatience = Duration.seconds(1)

    /// The collection as it is now, if it has other shards than this says.
    func resharded(_ entry: CollectionEntry) -> CollectionEntry? {
        guard let now = state.withLock({ $0.collections[entry.spec.name] }), now.incarnation == entry.incarnation, now.state == .active else { return nil }
        return now.isLike(entry) ? nil : now
    }

    func isSplitting(_ shard: ShardID) -> Bool { state.withLock { $0.isSplitting(shard) } }
}

extension CollectionEntry {
    /// Whether it is the same collection in the same shards, wherever these are.
    fileprivate func isLike(_ other: CollectionEntry) -> Bool {
        incarnation == other.incarnation && state == other.state && shards.map(\.number) == other.shards.map(\.number)
    }
}
