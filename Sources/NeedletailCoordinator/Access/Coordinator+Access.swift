internal import NeedletailCluster
public import NeedletailCore
internal import NeedletailMetadata
internal import NeedletailSecurity
internal import NeedletailTelemetry
internal import Synchronization

extension Coordinator {
    public func createKey(_ order: CallerInfo, deadline: Deadline?) async throws -> (key: String, info: AccessKeyInfo) {
        // A coordinator that asks nobody for keys does not go on beside keys.
        guard state.withLock({ $0.asksForKeys }) else {
            throw NeedletailError(
                .failedPrecondition, "nobody is asked for a key here, so keys mean nothing; start the coordinators with --admin-key-file first")
        }
        guard (1...Limits.nameBytes).contains(order.name.utf8.count), order.name.unicodeScalars.allSatisfy({ $0.value >= 0x20 }) else {
            throw NeedletailError(.invalidArgument, "a key's name has 1 to \(Limits.nameBytes) bytes and no control characters")
        }
        guard (1...Self.grantsPerKey).contains(order.grants.count) else {
            throw NeedletailError(.invalidArgument, "a key has 1 to \(Self.grantsPerKey) grants, not \(order.grants.count)")
        }
        if order.filter != nil, order.grants.contains(where: { $0.target == .cluster || $0.role == .admin }) {
            throw NeedletailError(
                .invalidArgument, "a key with a filter is kept to some points; grants on the cluster, and admin on a collection, concern all: leave them out")
        }
        if let expires = order.expiresMilliseconds, expires <= UInt64(WallClock.microseconds() / 1_000) {
            throw NeedletailError(.invalidArgument, "the key would have expired already")
        }
        var order = order
        order.limits = try order.limits.checked()
        let made = AccessKey.make(order)
        let key = MetadataCopy.keysPrefix + made.key.id
        let outcome = try await metadata.transact(MetadataTransaction(if: [.absent(key)], [.put(key, made.key.encoded)]))
        guard outcome.succeeded else { throw NeedletailError(.aborted, "another key has the same id by chance; try again") }
        state.withLock { $0.copy.keys.change(made.key.id, to: made.key, revision: outcome.revision) }
        return (made.text, made.key.info(lastUsedMilliseconds: nil))
    }

    private static let grantsPerKey = 64

    public func keys(deadline: Deadline?) async throws -> [AccessKeyInfo] {
        state.withLock { state in
            state.copy.keys.values.values.map { $0.info(lastUsedMilliseconds: state.copy.keyUses.values[$0.id]) }
        }.sorted { ($0.createdMilliseconds, $0.id) < ($1.createdMilliseconds, $1.id) }
    }

    public func revokeKey(_ id: String, deadline: Deadline?) async throws {
        let key = MetadataCopy.keysPrefix + id
        // Asked of the store: a key may be newer than this copy.
        guard let entry = try await metadata.get(key) else {
            throw NeedletailError(.notFound, "there is no key with the id \"\(id)\"; `needletail access keys list` shows those there are")
        }
        let changes: [MetadataOperation] = [.delete(key), .delete(MetadataCopy.keyUsesPrefix + id)]
        let outcome = try await metadata.transact(MetadataTransaction(if: [.revision(key, entry.revision)], changes))
        guard outcome.succeeded else { throw NeedletailError(.notFound, "the key \"\(id)\" was revoked at the same moment by somebody else") }
        state.withLock { state in
            state.copy.keys.change(id, to: nil, revision: outcome.revision)
            state.copy.keyUses.change(id, to: nil, revision: outcome.revision)
        }
    }

    public func whoAmI(deadline: Deadline?) async throws -> CallerInfo { (Caller.current?.principal ?? .anyone).info }

    func accessKey(_ id: String) -> AccessKey? { state.withLock { $0.copy.keys.values[id] } }
    func askForKeys() { state.withLock { $0.asksForKeys = true } }
    var hasAccessKeys: Bool { state.withLock { !$0.copy.keys.values.isEmpty } }

    /// How old the note of a key's last use may be.
    private static let useInterval: UInt64 = 60_000

    /// Notes when keys were used last; a key that is gone stays so.
    func noteUses(_ uses: [String: UInt64]) async throws {
        for (id, milliseconds) in uses {
            let (known, revision) = state.withLock { ($0.copy.keyUses.values[id] ?? 0, $0.copy.keys.revision(id)) }
            guard let revision, milliseconds >= known + Self.useInterval else { continue }
            var writer = ByteWriter()
            writer.u64(milliseconds)
            let outcome = try await metadata.transact(
                MetadataTransaction(
                    if: [.revision(MetadataCopy.keysPrefix + id, revision)], [.put(MetadataCopy.keyUsesPrefix + id, writer.bytes)]))
            if outcome.succeeded { state.withLock { $0.copy.keyUses.change(id, to: milliseconds, revision: outcome.revision) } }
        }
    }
}
