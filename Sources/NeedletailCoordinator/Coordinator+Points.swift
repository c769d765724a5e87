internal import NeedletailCluster
public import NeedletailCore

extension Coordinator {
    public func write(_ request: PointsWrite) async throws -> WriteSummary {
        let entry = try entry(request.collection)
        guard (1...Limits.pointsPerWrite).contains(request.operations.count) else {
            throw NeedletailError(
                .invalidArgument, "a write has 1 to \(Limits.pointsPerWrite) operations, not \(request.operations.count)")
        }
        let names = FieldNames(entry.spec)
        var byShard: [UInt32: (place: ShardPlace, operations: [PointOperation])] = [:]
        for operation in request.operations {
            let place = entry.place(of: operation.id)
            byShard[place.number, default: (place, [])].operations.append(try names.resolve(operation))
        }
        var summary = WriteSummary()
        var failure: NeedletailError?
        let parts = byShard.values.map { part in
            (number: part.place.number, node: part.place.primary, count: part.operations.count, write: ShardWrite(
                shard: entry.shardID(part.place), epoch: part.place.epoch, batch: WriteBatch(part.operations).encoded,
                acknowledgement: request.acknowledgement, deadline: request.deadline))
        }
        // Shards are written side by side. The first error is reported after all have ended: nothing goes on behind the client's back.
        await withTaskGroup(of: (UInt32, Int, Result<WriteReceipt, NeedletailError>).self) { group in
            for part in parts {
                group.addTask { [self] in
                    do throws(NeedletailError) {
                        let receipt = try await ask(part.node, about: [part.write.shard]) { try await $0.write(part.write) }
                        return (part.number, part.count, .success(receipt))
                    } catch {
                        return (part.number, part.count, .failure(error))
                    }
                }
            }
            for await (number, count, result) in group {
                switch result {
                case .success(let receipt):
                    let missing = receipt.outcomes.count { $0 == .notFound }
                    if receipt.outcomes.contains(.tooLarge) {
                        failure =
                            failure
                            ?? NeedletailError(
                                .invalidArgument, "a payload would become larger than \(Limits.payloadBytes) bytes; it stays as it was")
                    }
                    summary.notFound += UInt64(missing)
                    summary.applied += UInt64(count - missing)
                    summary.sequences[number] = receipt.sequence
                case .failure(let error): failure = failure ?? error
                }
            }
        }
        if let failure { throw failure }
        return summary
    }

    public func get(_ request: PointsGet) async throws -> PointsAnswer {
        let entry = try entry(request.collection)
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
                let get = ShardGet(shard: entry.shardID(part.place), ids: part.ids, parts: request.parts, deadline: request.deadline)
                group.addTask { (get.shard, try await self.ask(part.place.primary, about: [get.shard]) { try await $0.get(get) }) }
            }
            for try await (shard, answer) in group {
                for point in answer.points { found[point.id] = names.name(point) }
                reports.append(ShardReport(shard: shard, outcome: .complete, appliedSequence: answer.appliedSequence))
            }
        }
        return PointsAnswer(points: request.ids.compactMap { found[$0] }, coverage: Coverage(shards: reports.sorted { $0.shard < $1.shard }))
    }

    /// A page of the whole collection: as many points as wanted from every shard, of which the smallest ids are the page.
    public func scroll(_ request: PointsScroll) async throws -> NamedScrollPage {
        let entry = try entry(request.collection)
        guard (1...Limits.scrollPage).contains(request.limit) else {
            throw NeedletailError(.invalidArgument, "a page has 1 to \(Limits.scrollPage) points, not \(request.limit)")
        }
        let names = FieldNames(entry.spec)
        var points: [StoredPoint] = []
        // Beyond the end of a shard's page that has more, nothing is known of that shard.
        var horizon: PointID?
        try await withThrowingTaskGroup(of: ScrollPage.self) { group in
            for place in entry.shards {
                let scroll = ShardScroll(
                    shard: entry.shardID(place), after: request.after, limit: request.limit, parts: request.parts, deadline: request.deadline)
                group.addTask { try await self.ask(place.primary, about: [scroll.shard]) { try await $0.scroll(scroll) } }
            }
            for try await page in group {
                points += page.points
                if page.hasMore, let last = page.points.last?.id { horizon = min(horizon ?? last, last) }
            }
        }
        points.sort { $0.id < $1.id }
        if let horizon { points.removeAll { $0.id > horizon } }
        return NamedScrollPage(
            points: points.prefix(request.limit).map(names.name), hasMore: horizon != nil || points.count > request.limit)
    }

    public func count(_ collection: String, deadline: Deadline?) async throws -> CountAnswer {
        let entry = try entry(collection)
        var total: UInt64 = 0
        var reports: [ShardReport] = []
        try await withThrowingTaskGroup(of: (ShardID, ShardCount).self) { group in
            for place in entry.shards {
                let shard = entry.shardID(place)
                group.addTask {
                    (shard, try await self.ask(place.primary, about: [shard]) { try await $0.count(shard, deadline: deadline) })
                }
            }
            for try await (shard, answer) in group {
                total += answer.count
                reports.append(ShardReport(shard: shard, outcome: .complete, appliedSequence: answer.appliedSequence))
            }
        }
        return CountAnswer(count: total, coverage: Coverage(shards: reports.sorted { $0.shard < $1.shard }))
    }
}
