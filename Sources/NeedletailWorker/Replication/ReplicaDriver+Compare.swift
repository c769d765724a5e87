internal import Logging
internal import NeedletailCluster
internal import NeedletailCore
internal import NeedletailShard
internal import Synchronization

/// Comparing what replicas hold: before one joins the in-sync set, and now and then with those that are in it.
extension ReplicaDriver {
    /// Points that are looked for in both replicas, to compare their recall.
    private static let queries = 100
    /// For a mark to be applied everywhere, and the points to be looked for.
    private static let patience = Duration.seconds(120)

    /// A backup has caught up: may it join?
    func verify(_ stream: StreamID) {
        Task {
            do {
                let begin = ContinuousClock.now
                let isEqual = try await isEqual(stream.node, in: .answers(Self.queries))
                world.logger.info("a replica was compared", metadata: ["shard": "\(shard)", "node": "\(stream.node)", "took": "\(ContinuousClock.now - begin)"])
                if !isEqual {
                    world.logger.error(
                        "a replica that caught up holds something else than the primary; it is given a copy",
                        metadata: ["shard": "\(shard)", "node": "\(stream.node)"])
                }
                receive(.verified(stream, isEqual: isEqual))
            } catch {
                // Nothing is known: it begins anew.
                world.logger.info("a replica could not be compared, trying again: \(error)", metadata: ["shard": "\(shard)", "node": "\(stream.node)"])
                close(stream)
                receive(.streamEnded(stream))
            }
        }
    }

    /// As the primary, when it is time: compares every member of the in-sync set at one mark.
    func compareIfDue() {
        let members: [NodeID]? = state.withLock { state in
            guard let primary = state.machine.primary, !state.isComparing, now - state.comparedAt > world.settings.comparison else { return nil }
            state.comparedAt = now
            state.isComparing = true
            return primary.place.inSync.filter { $0 != world.node }
        }
        guard let members else { return }
        Task {
            for member in members {
                do {
                    if try await isEqual(member, in: .contents) { continue }
                    world.logger.critical(
                        "a replica holds something else than the primary; it leaves the in-sync set and is given a copy",
                        metadata: ["shard": "\(shard)", "node": "\(member)"])
                    receive(.differs(member))
                } catch {
                    world.logger.info("a replica could not be compared: \(error)", metadata: ["shard": "\(shard)", "node": "\(member)"])
                }
            }
            state.withLock { $0.isComparing = false }
        }
    }

    /// - Parameter scope: graphs that do not find the same, such as those that have been linked in another order, are measured by their recall.
    private func isEqual(_ node: NodeID, in scope: ReplicaDigest.Scope) async throws -> Bool {
        guard let address = hosted.assignment.address(of: node), !address.isEmpty else {
            throw NeedletailError(.unavailable, "the address of shard worker \(node) is not known yet")
        }
        let deadline = Deadline.after(Self.patience)
        let mark = try await hosted.mark()
        let peer = try world.peer(address).operations
        func digests(_ scope: ReplicaDigest.Scope) async throws -> (mine: ReplicaDigest, theirs: ReplicaDigest) {
            async let mine = hosted.digest(at: mark, scope, deadline: deadline)
            let theirs = try await peer.digest(shard, at: mark, scope, deadline: deadline)
            return (try await mine, theirs)
        }
        let (mine, theirs) = try await digests(scope)
        guard case .answers(let queries) = scope, theirs.sums == mine.sums, !theirs.answers(like: mine) else { return theirs.sums == mine.sums }
        let measured = try await digests(.recall(queries))
        return measured.theirs.agrees(with: measured.mine)
    }
}
