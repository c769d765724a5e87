internal import NeedletailCluster
public import NeedletailCore

extension Coordinator {
    public func write(_ request: PointsWrite) async throws -> WriteSummary {
        let entry = try entry(request.collection)
        var request = request
        try Self.confine(&request)
        guard (1...Limits.pointsPerWrite).contains(request.operations.count) else {
            throw NeedletailError(
                .invalidArgument, "a write has 1 to \(Limits.pointsPerWrite) operations, not \(request.operations.count)")
        }
        let names = FieldNames(entry.spec)
        var operations: [PointOperation] = []
        for operation in request.operations {
            let resolved = try names.resolve(operation)
            operations.append(request.filter.map { .guarded($0, resolved) } ?? resolved)
        }
        var summary = WriteSummary()
        var failure: NeedletailError?
        // One name for all attempts, so that a retry after a lost answer does nothing twice.
        let operation = request.operation ?? (isReplicated(entry) ? .random() : nil)
        let whole = ShardWrite(
            shard: ShardID(incarnation: entry.incarnation, number: 0), epoch: 0, batch: [], acknowledgement: request.acknowledgement,
            consistency: request.consistency ?? entry.spec.writeConsistency, operation: operation, deadline: request.deadline)
        // Shards are written side by side. The first error is reported after all have ended: nothing goes on behind the client's back.
        let outcomes = await withTaskGroup(of: [PartOutcome].self) { group in
            for part in Self.parts(of: operations, in: entry) { group.addTask { await self.write(part, whole, of: entry) } }
            return await group.reduce(into: []) { $0 += $1 }
        }
        for outcome in outcomes {
            switch outcome.result {
            case .success(let receipt):
                // Of a write to a shard that was split before it was sent again, it may be told of the whole.
                let missing = min(outcome.count, receipt.outcomes.count { $0 == .notFound })
                if receipt.outcomes.contains(.tooLarge) {
                    failure =
                        failure
                        ?? NeedletailError(.invalidArgument, "a payload would become larger than \(Limits.payloadBytes) bytes; it stays as it was")
                }
                if receipt.outcomes.contains(.outside) { failure = failure ?? Self.outside }
                summary.notFound += UInt64(missing)
                summary.applied += UInt64(outcome.count - missing)
                // Parts of it may have come to one shard one by one, when others were merged into that.
                summary.sequences[outcome.number] = max(summary.sequences[outcome.number] ?? 0, receipt.sequence)
            case .failure(let error): failure = failure ?? error
            }
        }
        if let failure { throw failure }
        summary.incarnation = entry.incarnation
        return summary
    }

    private struct WritePart: Sendable {
        let place: ShardPlace
        var operations: [PointOperation]
    }

    private struct PartOutcome: Sendable {
        let number: UInt32
        let count: Int
        let result: Result<WriteReceipt, NeedletailError>
    }

    private static func parts(of operations: [PointOperation], in entry: CollectionEntry) -> [WritePart] {
        var byShard: [UInt32: WritePart] = [:]
        for operation in operations {
            let place = entry.place(of: operation.id)
            byShard[place.number, default: WritePart(place: place, operations: [])].operations.append(operation)
        }
        return Array(byShard.values)
    }

    /// What belongs to one shard; when that is split meanwhile, what belongs to each of its parts.
    private func write(_ part: WritePart, _ whole: ShardWrite, of entry: CollectionEntry) async -> [PartOutcome] {
        var write = whole
        (write.shard, write.epoch, write.batch) = (entry.shardID(part.place), part.place.epoch, WriteBatch(part.operations).encoded)
        do throws(NeedletailError) {
            // Not one expression with the next: the optimiser of Swift 6.3 then mixes up the parts.
            let receipt = try await self.write(write, to: part.place)
            return [PartOutcome(number: part.place.number, count: part.operations.count, result: .success(receipt))]
        } catch {
            let isUndone = error.code == .aborted || error.code == .notFound || (error.code == .unavailable && whole.operation != nil)
            let end = whole.deadline ?? .after(Self.patience)
            guard isUndone, await isOutdated(entry, by: error, before: end), let newer = resharded(entry),
                !newer.shards.contains(where: { $0.number == part.place.number })
            else { return [PartOutcome(number: part.place.number, count: part.operations.count, result: .failure(error))] }
            var outcomes: [PartOutcome] = []
            for part in Self.parts(of: part.operations, in: newer) { outcomes += await self.write(part, whole, of: newer) }
            return outcomes
        }
    }

    /// Sends a batch to the shard's primary, and to the next one if that fails, while there is time.
    func write(_ write: ShardWrite, to place: ShardPlace) async throws(NeedletailError) -> WriteReceipt {
        let end = write.deadline ?? .after(Self.patience)
        var (write, place) = (write, place)
        var pause = RetryPause()
        while true {
            do throws(NeedletailError) {
                return try await ask(place.primary, about: [write.shard]) { try await $0.write(write) }
            } catch {
                // A primary whose log is broken gives way to another member, if there is one. What may have been carried out is sent again by name only.
                let mayPass =
                    error.code == .aborted || (error.code == .notFound && isSplitting(write.shard)) || (error.code == .unavailable && write.operation != nil)
                guard mayPass || (error.code == .dataLoss && place.inSync.count > 1),
                    let newer = await newer(than: place, of: write.shard, &pause, before: end)
                else { throw error }
                (place, write.epoch) = (newer, newer.epoch)
            }
        }
    }

    /// Whether its shards have several replicas, or are about to.
    func isReplicated(_ entry: CollectionEntry) -> Bool {
        entry.spec.replicationFactor > 1 || entry.shards.contains { $0.replicas.count > 1 }
    }

    public func get(_ request: PointsGet) async throws -> PointsAnswer {
        try await onOneMap(request.collection, request.read, request.deadline) { entry, read in try await get(request, entry, read) }
    }

    private func get(_ request: PointsGet, _ entry: CollectionEntry, _ read: ReadOptions) async throws -> PointsAnswer {
        guard request.ids.count <= Limits.idsPerRequest else {
            throw NeedletailError(.invalidArgument, "a request names at most \(Limits.idsPerRequest) ids, not \(request.ids.count)")
        }
        var byShard: [UInt32: (place: ShardPlace, ids: [PointID])] = [:]
        for id in request.ids {
            let place = entry.place(of: id)
            byShard[place.number, default: (place, [])].ids.append(id)
        }
        let names = FieldNames(entry.spec)
        var found: [PointID: NamedPoint] = [:]
        var reports: [ShardReport] = []
        try await withThrowingTaskGroup(of: (ShardID, ShardPoints).self) { group in
            for part in byShard.values {
                group.addTask {
                    let answer = try await self.readShard(part.place, of: entry, read, request.deadline) { worker, shard, condition in
                        try await worker.get(
                            ShardGet(
                                shard: shard, ids: part.ids, parts: request.parts.checked(by: request.filter), condition: condition,
                                filter: request.filter, deadline: request.deadline))
                    }
                    return (entry.shardID(part.place), answer)
                }
            }
            for try await (shard, answer) in group {
                for point in answer.points {
                    if let admitted = try request.filter.admits(point, request.parts) { found[point.id] = names.name(admitted) }
                }
                reports.append(ShardReport(shard: shard, outcome: .complete, appliedSequence: answer.appliedSequence))
            }
        }
        return PointsAnswer(points: request.ids.compactMap { found[$0] }, coverage: .of(reports))
    }

    /// A page of the whole collection: as many points as wanted from every shard, of which the smallest ids are the page.
    public func scroll(_ request: PointsScroll) async throws -> NamedScrollPage {
        try await onOneMap(request.collection, request.read, request.deadline) { entry, read in try await scroll(request, entry, read) }
    }

    private func scroll(_ request: PointsScroll, _ entry: CollectionEntry, _ read: ReadOptions) async throws -> NamedScrollPage {
        guard (1...Limits.scrollPage).contains(request.limit) else {
            throw NeedletailError(.invalidArgument, "a page has 1 to \(Limits.scrollPage) points, not \(request.limit)")
        }
        let names = FieldNames(entry.spec)
        var points: [StoredPoint] = []
        // Beyond the end of a shard's page that has more, nothing is known of that shard.
        var horizon: PointID?
        try await withThrowingTaskGroup(of: ScrollPage.self) { group in
            for place in entry.shards {
                group.addTask {
                    try await self.readShard(place, of: entry, read, request.deadline) { worker, shard, condition in
                        try await worker.scroll(
                            ShardScroll(
                                shard: shard, after: request.after, limit: request.limit, parts: request.parts.checked(by: request.filter),
                                condition: condition, filter: request.filter, deadline: request.deadline))
                    }
                }
            }
            for try await page in group {
                points += try page.points.compactMap { try request.filter.admits($0, request.parts) }
                if page.hasMore, let last = page.points.last?.id { horizon = min(horizon ?? last, last) }
            }
        }
        points.sort { $0.id < $1.id }
        if let horizon { points.removeAll { $0.id > horizon } }
        return NamedScrollPage(
            points: points.prefix(request.limit).map(names.name), hasMore: horizon != nil || points.count > request.limit)
    }

    public func count(_ collection: String, within filter: PayloadFilter?, read: ReadOptions, deadline: Deadline?) async throws -> CountAnswer {
        try await onOneMap(collection, read, deadline) { entry, read in try await count(entry, filter, read, deadline) }
    }

    private func count(_ entry: CollectionEntry, _ filter: PayloadFilter?, _ read: ReadOptions, _ deadline: Deadline?) async throws -> CountAnswer {
        var total: UInt64 = 0
        var reports: [ShardReport] = []
        try await withThrowingTaskGroup(of: (ShardID, ShardCount).self) { group in
            for place in entry.shards {
                group.addTask {
                    let count = try await self.readShard(place, of: entry, read, deadline) { worker, shard, condition in
                        try await worker.count(shard, within: filter, condition: condition, deadline: deadline)
                    }
                    return (entry.shardID(place), count)
                }
            }
            for try await (shard, answer) in group {
                guard filter == nil || answer.isFiltered else { throw Self.knowsNoFilter }
                total += answer.count
                reports.append(ShardReport(shard: shard, outcome: .complete, appliedSequence: answer.appliedSequence))
            }
        }
        return CountAnswer(count: total, coverage: .of(reports))
    }
}
