internal import Logging
internal import NeedletailCluster
internal import NeedletailCore
internal import NeedletailShard
internal import Synchronization

extension ReplicaDriver {
    func perform(_ work: Work) async {
        switch work {
        case .advance(let committed, let majority): hosted.commit(through: committed, majority: majority)
        case .append(let records):
            // The log keeps what it can and says what it cannot.
            do { try await hosted.accept(records) } catch { failed("records of the primary cannot be logged", error) }
        case .action(let action): await perform(action)
        }
    }

    private func perform(_ action: ReplicaAction) async {
        switch action {
        case .persist(let promise):
            do {
                try await hosted.storePromise(promise.encoded)
                receive(.persisted(promise))
            } catch { world.logger.error("a promise cannot be stored: \(error)", metadata: ["shard": "\(shard)"]) }
        case .fenced(let answer): settle(answer.fence, .success(answer))
        case .fenceRefused(let fence, let epoch):
            settle(fence, .failure(NeedletailError(.aborted, "shard \(shard) knows of epoch \(epoch); the fence of epoch \(fence.epoch) comes too late")))
        case .resign(let epoch): ask { try await $0.resign(self.shard, by: self.world.node, epoch: epoch) }
        case .roleChanged:
            // What was logged before the replica had fellows is for the new primary to commit: itself.
            guard state.withLock({ $0.machine.primary == nil }) else { return }
            hosted.abandonWriters(
                NeedletailError(.unavailable, "the primary of shard \(shard) changes; send the write again with the same operation id"))
        case .answer(let stream, let answer): state.withLock { $0.outgoing[stream] }?.answer(answer)
        case .send(let order): state.withLock { $0.outgoing[order.stream] }?.send(order)
        case .verify(let stream): verify(stream)
        case .propose(let proposal): propose(proposal)
        case .open(let follow, let primary): open(follow, to: primary)
        case .cut(let sequence):
            do {
                try await hosted.cut(after: sequence)
                receive(.changed)
            } catch { failed("the log cannot be cut", error) }
        case .append: break
        case .acknowledge(let stream, let durable): state.withLock { $0.acknowledgements[stream] }?.yield(durable)
        case .transfer(let stream, let primary): transfer(stream, from: primary)
        case .install(let stream): install(stream)
        case .apply(let sequence): hosted.commit(through: sequence)
        case .close(let stream): close(stream)
        case .alarm(let error): world.logger.critical("replication: \(error)", metadata: ["shard": "\(shard)"])
        }
    }

    private func settle(_ fence: Fence, _ result: Result<FenceAnswer, any Error>) {
        for waiter in state.withLock({ $0.fences.removeValue(forKey: fence) ?? [] }) { waiter.resume(with: result) }
    }

    private func ask(_ body: @escaping @Sendable (any LeaderOperations) async throws -> Void) {
        let world = world
        Task {
            try? await body(world.leader)
            world.nudge()
        }
    }

    private func propose(_ proposal: Proposal) {
        Task {
            do {
                try await world.leader.propose(proposal, for: shard, by: world.node)
            } catch {
                receive(.proposalFailed(proposal))
            }
            world.nudge()
        }
    }

    func close(_ stream: StreamID) {
        let (outgoing, incoming) = state.withLock { ($0.outgoing[stream], $0.incoming[stream]) }
        outgoing?.close()
        incoming?.cancel()
    }

    /// The replica's files are not as the machine thinks: it has to be opened anew.
    private func failed(_ what: String, _ error: any Error) {
        world.logger.error("\(what), opening the replica anew: \(error)", metadata: ["shard": "\(shard)"])
        let (world, shard) = (world, shard)
        // Not here: ending this driver waits for what it is doing.
        Task {
            try? await world.local.reopen(shard)
            world.reopened(shard)
        }
    }

    // MARK: Checkpoints from the primary

    private func transfer(_ stream: StreamID, from primary: NodeID) {
        let task = Task { [self] in
            do {
                guard let address = hosted.assignment.address(of: primary), !address.isEmpty else {
                    throw NeedletailError(.unavailable, "the address of shard worker \(primary) is not known yet")
                }
                let (incoming, begin) = (try world.local.incoming(shard), ContinuousClock.now)
                do {
                    let (sequence, epoch) = try await Transfer(incoming: incoming, source: try world.peer(address).operations, rate: world.copyRate).run()
                    world.logger.info("a checkpoint was fetched", metadata: ["shard": "\(shard)", "took": "\(ContinuousClock.now - begin)"])
                    let history = try EpochHistory(base: sequence, runs: sequence == 0 ? [] : [.init(epoch: epoch, first: sequence)], end: sequence)
                    let isStopped = state.withLock { state in
                        if state.isStopped { return true }
                        state.fetched = (stream, incoming, sequence, epoch)
                        state.receive(.transferred(stream, history), now: now, queue: queue)
                        return false
                    }
                    if isStopped { await forget(incoming) }
                } catch {
                    await forget(incoming)
                    throw error
                }
            } catch {
                world.logger.warning("a checkpoint cannot be fetched, trying again: \(error)", metadata: ["shard": "\(shard)", "primary": "\(primary)"])
                receive(.transferFailed(stream))
            }
        }
        state.withLock { $0.transfer = (stream, task) }
    }

    /// A copy that is of no use.
    func forget(_ incoming: IncomingReplica) async {
        do { try await world.local.abandon(incoming) } catch {
            world.logger.warning("what was copied of a replica cannot be removed; the next start does: \(error)", metadata: ["shard": "\(shard)"])
        }
    }

    /// Ends this driver with the replica that it was for.
    private func install(_ stream: StreamID) {
        let fetched = state.withLock { state in
            defer { state.fetched = nil }
            return state.fetched
        }
        guard let fetched, fetched.stream == stream else { return }
        Task { [self] in
            let begin = ContinuousClock.now
            do {
                try await world.local.install(fetched.incoming, sequence: fetched.sequence, epoch: fetched.epoch)
                world.logger.info("a checkpoint was put in place", metadata: ["shard": "\(shard)", "took": "\(ContinuousClock.now - begin)"])
            } catch {
                world.logger.error("a fetched checkpoint cannot be put in place: \(error)", metadata: ["shard": "\(shard)"])
                await forget(fetched.incoming)
            }
            world.reopened(shard)
        }
    }

    // MARK: The backup's side of a stream

    private func open(_ follow: Follow, to primary: NodeID) {
        let (acknowledgements, continuation) = AsyncStream.makeStream(of: UInt64.self, bufferingPolicy: .bufferingNewest(1))
        let task = Task { [self] in
            do {
                guard let address = hosted.assignment.address(of: primary), !address.isEmpty else {
                    throw NeedletailError(.unavailable, "the address of shard worker \(primary) is not known yet")
                }
                try await run(try await world.peer(address).follow(), follow, acknowledgements)
            } catch {
                world.logger.debug("a stream ended: \(error)", metadata: ["shard": "\(shard)", "primary": "\(primary)"])
            }
            state.withLock { state in
                state.incoming[follow.stream] = nil
                state.acknowledgements.removeValue(forKey: follow.stream)?.finish()
            }
            receive(.streamEnded(follow.stream))
        }
        let isStopped = state.withLock { state in
            if state.isStopped { return true }
            state.incoming[follow.stream] = task
            state.acknowledgements[follow.stream] = continuation
            return false
        }
        if isStopped { task.cancel() }
    }

    private func run(_ stream: any FollowStream, _ follow: Follow, _ acknowledgements: AsyncStream<UInt64>) async throws {
        try await withTaskCancellationHandler {
            try await stream.start(shard, follow)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { for await durable in acknowledgements { try await stream.acknowledge(durable: durable) } }
                group.addTask { [self] in
                    try await stream.read { answer in
                        receive(.answered(follow.stream, answer))
                    } records: { streamed, records in
                        state.withLock { $0.receive(.received(follow.stream, streamed), now: now, records: records, queue: queue) }
                    }
                }
                // Either ends with the stream.
                try await group.next()
                group.cancelAll()
            }
        } onCancel: {
            stream.cancel()
        }
    }
}
