import NIOCore
import NIOPosix
import NeedletailAPI
import NeedletailCore
import NeedletailGRPC
import NeedletailTestSupport
import Synchronization
import Testing

/// A server with these services on a real socket, and a client of it.
func withServer(_ register: (inout GRPCRouter) -> Void, _ body: (GRPCClient) async throws -> Void) async throws {
    var router = GRPCRouter()
    register(&router)
    let server = GRPCServer(configuration: .init(), router: router, group: MultiThreadedEventLoopGroup.singleton)
    let port = try #require(try await server.start().port)
    let client = GRPCClient(host: "127.0.0.1", port: port, group: MultiThreadedEventLoopGroup.singleton)
    let result: Result<Void, any Error>
    do {
        try await body(client)
        result = .success(())
    } catch {
        result = .failure(error)
    }
    await client.close()
    await server.shutdown(grace: .zero)
    try result.get()
}

@Suite struct ClusterServiceTests {
    private func point(_ id: UInt64, _ value: Float) -> NamedOperation {
        .upsert(id: .number(id), vectors: [NamedVector(field: "f", vector: DenseVector([value]))], payload: [])
    }

    @Test func collections() async throws {
        try await withServer({ $0.registerCluster(FakeCluster()) }) { client in
            let cluster = RemoteCluster(client)
            let spec = CollectionSpec(name: "c", fields: [VectorField(name: "f", dimensions: 1, metric: .l2)])
            #expect(try await cluster.createCollection(spec, deadline: nil).spec == spec)
            let error = await #expect(throws: NeedletailError.self) { try await cluster.createCollection(spec, deadline: nil) }
            #expect(error?.code == .alreadyExists)
            #expect(error?.message == "c exists; choose another name")
            #expect(try await cluster.collection("c", deadline: nil).incarnation == Incarnation(0xabcd))
            #expect(try await cluster.collections(deadline: nil).map(\.spec) == [spec])
            let updated = try await cluster.updateCollection("c", changes: CollectionChanges(durability: .interval(milliseconds: 5)), deadline: nil)
            #expect(updated.spec.durability == .interval(milliseconds: 5))
            #expect(try await cluster.deleteCollection("c", ignoreMissing: false, deadline: nil))
            #expect(try await !cluster.deleteCollection("c", ignoreMissing: true, deadline: nil))
            let missing = await #expect(throws: NeedletailError.self) { try await cluster.collection("c", deadline: nil) }
            #expect(missing?.code == .notFound)
        }
    }

    @Test func pointsOfAllKinds() async throws {
        let fake = FakeCluster()
        try await withServer({ $0.registerCluster(fake) }) { client in
            let cluster = RemoteCluster(client)
            let mixed: [NamedOperation] = [
                point(1, 1), point(2, 2), .setPayload(.number(1), ["a": .integer(1), "b": .null]),
                .setPayload(.number(9), ["x": .null]),
                .overwritePayload(.number(2), ["c": .list([.double(0.5)])]), .deletePayloadKeys(.number(1), ["b"]),
                .delete(.number(7)),
                point(3, 3), .delete(.number(3)),
            ]
            let summary = try await cluster.write(PointsWrite(collection: "c", operations: mixed))
            #expect(summary.applied == 7)
            #expect(summary.notFound == 2)
            #expect(summary.sequences == [0: 8])
            let answer = try await cluster.get(PointsGet(collection: "c", ids: [.number(2), .number(3), .number(1)]))
            #expect(answer.points.map(\.id) == [.number(2), .number(1)])
            #expect(try PayloadCoding.decode(answer.points[0].payload) == ["c": .list([.double(0.5)])])
            #expect(try PayloadCoding.decode(answer.points[1].payload) == ["a": .integer(1)])
            #expect(answer.points[1].vectors == [NamedVector(field: "f", vector: DenseVector([1]))])
            #expect(try await cluster.count("c", read: ReadOptions(), deadline: nil).count == 2)
            let status = try await cluster.clusterStatus(deadline: nil)
            #expect(status.clusterID == 5 && status.shardsReady == 1)
            #expect(try await cluster.nodes(deadline: nil)[0].heartbeatAge == .milliseconds(6))
            #expect(try await cluster.shards(of: nil, deadline: nil)[0].collection == "all")
            #expect(try await cluster.shards(of: "c", deadline: nil)[0].range.last == .max)
        }
    }

    /// A request carries one change for many points. Texts that Swift takes for equal are not, where their bytes differ.
    @Test func changesThatLookAlikeAreNotTakenForOne() async throws {
        try await withServer({ $0.registerCluster(FakeCluster()) }) { client in
            let cluster = RemoteCluster(client)
            let (one, other) = ("caf\u{e9}", "cafe\u{301}")
            let payloads: [Payload] = [["name": .string(one), PayloadKey(one): .null], ["name": .string(other), PayloadKey(other): .null]]
            let ids: [PointID] = [.number(1), .number(2)]
            let writes = zip(ids, payloads).map { NamedOperation.setPayload($0, $1) } + zip(ids, [one, other]).map { .deletePayloadKeys($0, [PayloadKey($1)]) }
            _ = try await cluster.write(PointsWrite(collection: "c", operations: [point(1, 1), point(2, 2)] + writes))
            let answer = try await cluster.get(PointsGet(collection: "c", ids: ids))
            #expect(try answer.points.map { try PayloadCoding.decode($0.payload) } == [["name": .string(one)], ["name": .string(other)]])
        }
    }

    @Test func searchesAndDeadlines() async throws {
        let fake = FakeCluster()
        try await withServer({ $0.registerCluster(fake) }) { client in
            let cluster = RemoteCluster(client)
            _ = try await cluster.write(PointsWrite(collection: "c", operations: (0..<20).map { point($0, 0) }))
            let query = NamedQuery(
                field: "f", vector: DenseVector([1, 2]), limit: 5, ef: 99, exact: true, parts: PointParts(vectors: true))
            let one = try await cluster.search(PointsSearch(collection: "c", queries: [query], deadline: .after(.seconds(30))))
            #expect(one.results[0].map(\.id) == (0..<5).map { PointID.number($0) })
            #expect(one.results[0][3].distance == 3)
            #expect(one.coverage.answeredCount == 1)
            #expect(one.work == SearchWork(distances: 11, hops: 3))
            let seen = try #require(fake.state.withLock { $0.lastSearch })
            #expect(seen.queries[0].ef == 99 && seen.queries[0].exact && seen.queries[0].parts.vectors)
            #expect(seen.queries[0].vector == query.vector)
            let left = try #require(seen.deadline).remaining
            #expect(left > .seconds(20) && left <= .seconds(30))
            let batch = try await cluster.search(PointsSearch(collection: "c", queries: [query, query, query], allowPartial: true))
            #expect(batch.results.map(\.count) == [5, 5, 5])
        }
    }

    @Test func scrollsInPages() async throws {
        let fake = FakeCluster()
        try await withServer({ $0.registerCluster(fake) }) { client in
            let cluster = RemoteCluster(client)
            _ = try await cluster.write(PointsWrite(collection: "c", operations: (0..<1000).map { point($0, 0) }))
            var ids: [PointID] = []
            for try await page in try await cluster.points(ScrollStream(pages: PointsScroll(collection: "c", limit: 64))) {
                #expect(page.count <= 64)
                ids += page.map(\.id)
            }
            #expect(ids == (0..<1000).map { .number($0) })
            let page = try await cluster.scroll(PointsScroll(collection: "c", after: .number(989), limit: 10))
            #expect(page.points.map(\.id) == (990..<1000).map { .number($0) })
            #expect(!page.hasMore)
            #expect(try await cluster.scroll(PointsScroll(collection: "c", limit: 10)).hasMore)
        }
    }

    @Test func packedRowsArrive() async throws {
        let fake = FakeCluster()
        try await withServer({ $0.registerCluster(fake) }) { client in
            let rows = PackedRows(ids: [4, 300], field: "f", rows: DenseVector([1, 2, 3, 4]).bytes)
            let summary = try await RemoteCluster(client).upsert(rows, collection: "c", acknowledgement: .durable)
            #expect(summary.applied == 2)
            let write = try #require(fake.state.withLock { $0.lastWrite })
            #expect(write.acknowledgement == .durable)
            #expect(
                write.operations[1]
                    == .upsert(id: .number(300), vectors: [NamedVector(field: "f", vector: DenseVector([3, 4]))], payload: []))
        }
    }

    /// Writes overlap in time, but never two of the same id, and the last of an id wins.
    @Test func streamsArePipelinedInOrder() async throws {
        let fake = FakeCluster(writeDelay: .milliseconds(3))
        var generator = SeededGenerator.fresh()
        try await withServer({ $0.registerCluster(fake) }) { client in
            let writer = try await RemoteCluster(client).upsertStream(collection: "c")
            var expected: [UInt64: Float] = [:]
            for round in 0..<200 {
                let ids = (0..<5).map { _ in UInt64(generator.below(100)) }
                try await writer.send(ids.map { point($0, Float(round)) })
                for id in ids { expected[id] = Float(round) }
            }
            let summary = try await writer.finish()
            #expect(summary.applied == 1000)
            #expect(summary.sequences == [0: 200])
            let state = fake.state.withLock { $0 }
            #expect(!state.overlapped)
            #expect((2...6).contains(state.mostWritesInFlight))
            for (id, value) in expected {
                #expect(state.points[.number(id)]?.vectors[0].vector == DenseVector([value]))
            }
        }
    }

    @Test func streamsStopAtTheFirstError() async throws {
        let fake = FakeCluster(poison: .number(50))
        try await withServer({ $0.registerCluster(fake) }) { client in
            let writer = try await RemoteCluster(client).upsertStream(collection: "c")
            let error = await #expect(throws: NeedletailError.self) {
                for id in 0..<100_000 { try await writer.send([point(UInt64(id), 0)]) }
                _ = try await writer.finish()
            }
            #expect(error?.code == .resourceExhausted)
            #expect(fake.state.withLock { $0.points.count } < 50_000)
        }
    }
}

@Suite struct ShardServiceTests {
    @Test func everythingArrives() async throws {
        let worker = FakeWorker()
        try await withServer({
            $0.registerShardWorker(worker)
            $0.registerMembership(worker)
        }) { client in
            let remote = RemoteShardWorker(client)
            let shard = ShardID(incarnation: Incarnation(77), number: 5)
            let receipt = try await remote.write(
                ShardWrite(shard: shard, epoch: 1, batch: [1, 2, 3], acknowledgement: .durable, deadline: .after(.seconds(9))))
            #expect(receipt.sequence == 3)
            #expect(receipt.outcomes == [.applied, .notFound])
            #expect(try #require(worker.lastDeadline.withLock { $0 }).remaining <= .seconds(9))
            let stale = await #expect(throws: NeedletailError.self) {
                try await remote.write(ShardWrite(shard: shard, epoch: 2, batch: []))
            }
            #expect(stale?.code == .aborted)

            let vector = DenseVector([1, 2, 3])
            let found = try await remote.search(
                NodeSearchRequest(shards: [shard], queries: [SearchQuery(field: 2, vector: vector, limit: 8)]))
            #expect(found.results[0][0].id == .number(8))
            #expect(found.results[0][0].vectors == [FieldVector(field: 2, vector: vector)])
            guard case .failed(let error) = found.reports[0].outcome else { throw NeedletailError(.internal, "no failure") }
            #expect(error.code == .notFound && error.message == "not here")

            let stored = try await remote.get(ShardGet(shard: shard, ids: [.number(1)], parts: PointParts()))
            #expect(stored.points.map(\.payload) == [[1, 2]] && stored.appliedSequence == 9)
            let page = try await remote.scroll(
                ShardScroll(shard: shard, after: .uuid(high: 1, low: 2), limit: 6, parts: PointParts()))
            #expect(page.points[0].id == .uuid(high: 1, low: 2) && page.points[0].sequence == 6 && page.hasMore)
            #expect(try await remote.count(shard, condition: ReadCondition(), deadline: nil) == ShardCount(count: 5, appliedSequence: 8))

            let spec = CollectionSpec(name: "c", fields: [VectorField(name: "f", dimensions: 3, metric: .cosine)])
            let assignment = ReplicaAssignment(shard: shard, range: HashRange(first: 1, last: 9), epoch: 4, collection: spec)
            try await remote.createReplica(assignment, deadline: .after(.seconds(9)))
            #expect(try #require(worker.lastDeadline.withLock { $0 }).remaining <= .seconds(9))
            #expect(try await remote.status().replicas.map(\.shard) == [shard])
            let answer = try await RemoteMembership(client).heartbeat(
                Heartbeat(node: 3, address: "a:1", cluster: 0, status: NodeStatus(replicas: []), isDraining: true))
            #expect(answer.cluster == 3 && answer.assignments == [assignment])
            try await remote.dropReplica(shard, deadline: .after(.seconds(7)))
            #expect(try #require(worker.lastDeadline.withLock { $0 }).remaining <= .seconds(7))
            #expect(try await remote.status().replicas.isEmpty)
        }
    }
}
