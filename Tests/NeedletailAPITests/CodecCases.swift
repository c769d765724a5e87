import NIOCore
import NeedletailAPI
import NeedletailCluster
import NeedletailCore
import NeedletailTestSupport

/// A codec with a way to make values for it, its type forgotten.
struct CodecCase: Sendable, CustomStringConvertible {
    let name: String
    /// A random value: its message, and what the value says of itself.
    let encode: @Sendable (inout SeededGenerator) throws -> (message: ByteBuffer, text: String)
    /// The message again, from the value that the message gave, and what that value says of itself.
    let recode: @Sendable (ByteBuffer) throws -> (message: ByteBuffer, text: String)
    let decode: @Sendable (ByteBuffer) throws -> Void

    var description: String { name }

    init<Value>(_ name: String, _ codec: MessageCodec<Value>, _ make: @escaping @Sendable (inout SeededGenerator) -> Value) {
        self.name = name
        encode = { generator in
            let value = make(&generator)
            return (try codec.encode(value), Self.text(value))
        }
        recode = { message in
            let value = try codec.decode(message)
            return (try codec.encode(value), Self.text(value))
        }
        decode = { message in _ = try codec.decode(message) }
    }

    /// Dictionaries of equal content need not print alike.
    private static func text(_ value: Any) -> String {
        if let summary = value as? WriteSummary {
            return "\(summary.applied) \(summary.notFound) \(summary.sequences.sorted { $0.key < $1.key })"
        }
        if let bulk = value as? BulkSummary { return "\(bulk.requests) \(text(bulk.summary))" }
        if let write = value as? PointsWrite, write.operations.contains(where: { if case .upsert = $0 { false } else { true } }) {
            let operations = write.operations.map { operation in
                switch operation {
                case .setPayload(let id, let payload): "set \(id) \(PayloadCoding.encode(payload))"
                case .overwritePayload(let id, let payload): "overwrite \(id) \(PayloadCoding.encode(payload))"
                default: "\(operation)"
                }
            }
            return "\(write.collection) \(write.acknowledgement) \(operations)"
        }
        return String(describing: value)
    }

    static let all = collections + writes + reads + searches + cluster + shards + membership + backups + access

    static let collections = [
        CodecCase("createCollection", PublicMessages.createCollection) { $0.spec() },
        CodecCase("collection", PublicMessages.collection) { $0.collectionInfo() },
        CodecCase("collections", PublicMessages.collections) { generator in
            generator.some(3) { $0.collectionInfo() }
        },
        CodecCase("getCollection", PublicMessages.getCollection) { $0.text() },
        CodecCase("updateCollection", PublicMessages.updateCollection) {
            (
                name: $0.text(),
                changes: CollectionChanges(
                    durability: $0.bool() ? nil : .everyCommit, replicationFactor: $0.bool() ? nil : 1 + $0.below(7),
                    writeConsistency: $0.bool() ? nil : $0.writeConsistency(), minInSync: $0.bool() ? nil : 1 + $0.below(7))
            )
        },
        CodecCase("trainCollection", PublicMessages.trainCollection) {
            CollectionTraining(collection: $0.text(), field: $0.text(), queries: $0.bytes($0.below(64)))
        },
        CodecCase("deleteCollection", PublicMessages.deleteCollection) { (name: $0.text(), ignoreMissing: $0.bool()) },
        CodecCase("collectionDeleted", PublicMessages.collectionDeleted) { $0.bool() },
    ]

    static let writes = [
        CodecCase("upsert", PublicMessages.upsert) { generator in
            generator.write { .upsert(id: $0.id(), vectors: $0.namedVectors(), payload: $0.payloadBytes()) }
        },
        CodecCase("delete", PublicMessages.delete) { generator in generator.write { .delete($0.id()) } },
        CodecCase("setPayload", PublicMessages.setPayload) { generator in
            let payload = generator.payload()
            return generator.write { .setPayload($0.id(), payload) }
        },
        CodecCase("overwritePayload", PublicMessages.overwritePayload) { generator in
            let payload = generator.payload()
            return generator.write { .overwritePayload($0.id(), payload) }
        },
        CodecCase("deletePayload", PublicMessages.deletePayload) { generator in
            let keys = generator.some(4) { PayloadKey($0.text()) }
            return generator.write { .deletePayloadKeys($0.id(), keys) }
        },
        CodecCase("written", PublicMessages.written) { $0.summary() },
        CodecCase("streamWritten", PublicMessages.streamWritten) { generator in
            var summary = generator.summary()
            summary.notFound = 0
            return BulkSummary(summary: summary, requests: generator.number())
        },
    ]

    static let reads = [
        CodecCase("getPoints", PublicMessages.getPoints) { generator in
            PointsGet(
                collection: generator.text(), ids: generator.some(6) { $0.id() }, parts: generator.parts(), read: generator.readOptions())
        },
        CodecCase("points", PublicMessages.points) { generator in
            PointsAnswer(points: generator.some(4) { $0.namedPoint() }, coverage: generator.coverage())
        },
        CodecCase("scroll", PublicMessages.scroll) { generator in
            let pages = PointsScroll(
                collection: generator.text(), after: generator.bool() ? generator.id() : nil, limit: 1 + generator.below(10_000),
                parts: generator.parts(), read: generator.readOptions())
            return ScrollStream(pages: pages, total: generator.bool() ? 1 + generator.number() / 2 : nil)
        },
        CodecCase("scrollPage", PublicMessages.scrollPage) { generator in generator.some(4) { $0.namedPoint() } },
        CodecCase("count", PublicMessages.count) { (collection: $0.text(), read: $0.readOptions()) },
        CodecCase("counted", PublicMessages.counted) { CountAnswer(count: $0.number(), coverage: $0.coverage()) },
    ]

    static let searches = [
        CodecCase("search", PublicMessages.search) {
            PointsSearch(collection: $0.text(), queries: [$0.query()], allowPartial: $0.bool(), read: $0.readOptions())
        },
        CodecCase("searchBatch", PublicMessages.searchBatch) { generator in
            PointsSearch(
                collection: generator.text(), queries: generator.some(4) { $0.query() }, allowPartial: generator.bool(),
                read: generator.readOptions())
        },
        CodecCase("found", PublicMessages.found) { generator in
            SearchAnswer(
                results: [generator.some(5) { $0.namedScored() }], coverage: generator.coverage(),
                work: SearchWork(distances: generator.number(), hops: generator.number()), estimates: [generator.estimate()])
        },
        CodecCase("batchFound", PublicMessages.batchFound) { generator in
            let results = generator.some(3) { $0.some(3) { $0.namedScored() } }
            return SearchAnswer(
                results: results, coverage: generator.coverage(), work: SearchWork(distances: generator.number(), hops: generator.number()),
                estimates: results.map { _ in generator.estimate() })
        },
    ]

    static let cluster = [
        CodecCase("clusterStatus", PublicMessages.clusterStatus) { generator in
            ClusterStatus(
                clusterID: generator.next(), version: generator.text(), nodesTotal: generator.below(100),
                nodesAlive: generator.below(100),
                collections: generator.below(100), shardsTotal: generator.below(100), shardsReady: generator.below(100),
                points: generator.number(),
                coordinators: generator.some(3) { CoordinatorInfo(id: $0.next(), address: $0.text(), isLeader: $0.bool()) })
        },
        CodecCase("nodes", PublicMessages.nodes) { generator in
            generator.some(4) {
                NodeInfo(
                    id: $0.next(), address: $0.text(), isAlive: $0.bool(), replicas: $0.below(100), points: $0.number(),
                    memoryBytes: $0.number(), diskBytes: $0.number(), heartbeatAge: .milliseconds($0.below(100_000)), work: Double($0.small()))
            }
        },
        CodecCase("plan", PublicMessages.plan) { generator in
            MovePlan(
                moves: generator.some(3) {
                    MoveInfo(
                        order: MoveOrder(collection: "c" + $0.text(), shard: $0.small(), from: $0.bool() ? nil : $0.next(), to: $0.next()), bytes: $0.number(),
                        cause: $0.text(), reason: $0.text())
                }, held: generator.text(),
                reshardings: generator.some(3) {
                    let split = ReshardingInfo.Change.split(ShardSplitOrder(collection: "c" + $0.text(), shard: $0.small()))
                    let merge = ReshardingInfo.Change.merge(ShardMergeOrder(collection: "c" + $0.text(), shard: $0.small(), other: $0.small()))
                    return ReshardingInfo($0.bool() ? split : merge, reason: $0.text())
                })
        },
        CodecCase("listShards", PublicMessages.listShards) { $0.bool() ? nil : "c" + $0.text() },
        CodecCase("shards", PublicMessages.shards) { generator in
            generator.some(4) { generator in
                let (number, epoch) = (generator.small(), generator.number())
                let shard = ShardID(incarnation: Incarnation(0), number: number)
                return ShardInfo(
                    collection: generator.text(), number: number, range: generator.range(), epoch: epoch,
                    replicas: generator.some(3) {
                        ShardInfo.Replica(
                            node: $0.next(), isPrimary: $0.bool(), isInSync: $0.bool(), status: $0.bool() ? nil : $0.replicaStatus(shard, epoch: epoch))
                    }, work: Double(generator.small()))
            }
        },
    ]

    static let shards = [
        CodecCase("internal write", InternalMessages.write) {
            ShardWrite(
                shard: $0.shard(), epoch: $0.number(), batch: $0.bytes($0.below(200)), acknowledgement: $0.acknowledgement(),
                consistency: $0.writeConsistency(), operation: $0.operation())
        },
        CodecCase("internal written", InternalMessages.written) { generator in
            WriteReceipt(sequence: generator.number(), outcomes: generator.some(9) { $0.bool() ? .applied : .notFound })
        },
        CodecCase("internal search", InternalMessages.search) { generator in
            let shards = generator.some(5) { $0.shard() }
            let conditions = generator.bool() ? [] : shards.map { _ in generator.condition() }
            return NodeSearchRequest(shards: shards, queries: generator.some(3) { $0.searchQuery() }, conditions: conditions, filter: generator.filter())
        },
        CodecCase("internal found", InternalMessages.found) { generator in
            let results = generator.some(3) { $0.some(4) { $0.scored() } }
            return NodeSearchResponse(
                results: results, reports: generator.some(4) { $0.report() },
                work: SearchWork(distances: generator.number(), hops: generator.number()), estimates: results.map { _ in generator.estimate() })
        },
        CodecCase("internal search each", InternalMessages.searchEach) { generator in
            generator.some(3) { generator in
                var request = NodeSearchRequest(
                    shards: generator.some(3) { $0.shard() }, queries: generator.some(2) { $0.searchQuery() }, filter: generator.filter())
                request.trace = generator.bool() ? nil : ("00-\(generator.number())", generator.text())
                return request
            }
        },
        CodecCase("internal found each", InternalMessages.foundEach) { generator in
            generator.some(3) { generator in
                if generator.bool() { return .failure(generator.failure()) }
                let results = generator.some(3) { $0.some(2) { $0.scored() } }
                return .success(
                    NodeSearchResponse(
                        results: results, reports: generator.some(2) { $0.report() }, work: SearchWork(distances: generator.number(), hops: generator.number()),
                        estimates: results.map { _ in generator.estimate() }))
            }
        },
        CodecCase("internal get", InternalMessages.get) { generator in
            ShardGet(shard: generator.shard(), ids: generator.some(5) { $0.id() }, parts: generator.parts(), condition: generator.condition(), filter: generator.filter())
        },
        CodecCase("internal points", InternalMessages.points) { generator in
            ShardPoints(points: generator.some(4) { $0.storedPoint() }, appliedSequence: generator.number())
        },
        CodecCase("internal scroll", InternalMessages.scroll) {
            ShardScroll(
                shard: $0.shard(), after: $0.bool() ? $0.id() : nil, limit: 1 + $0.below(10_000), parts: $0.parts(), condition: $0.condition(),
                filter: $0.filter())
        },
        CodecCase("internal scrollPage", InternalMessages.scrollPage) { generator in
            ScrollPage(points: generator.some(4) { $0.storedPoint() }, hasMore: generator.bool())
        },
        CodecCase("internal count", InternalMessages.count) { (shard: $0.shard(), filter: $0.filter(), condition: $0.condition()) },
        CodecCase("internal counted", InternalMessages.counted) { ShardCount(count: $0.number(), appliedSequence: $0.number(), isFiltered: $0.bool()) },
        CodecCase("internal sample", InternalMessages.sample) {
            ShardSample(shard: $0.shard(), field: $0.below(16), count: $0.below(100_000), seed: $0.next())
        },
        CodecCase("internal sampled", InternalMessages.sampled) { $0.bytes($0.below(200)) },
        CodecCase("internal train", InternalMessages.train) {
            CodecTrainingRequest(field: $0.field(), sample: $0.bytes($0.below(200)), queries: $0.bytes($0.below(200)))
        },
        CodecCase("internal trained", InternalMessages.trained) { $0.bytes($0.below(200)) },
        CodecCase("internal shard", InternalMessages.shard) { $0.shard() },
    ]

    static let access = [
        CodecCase("createKey", PublicMessages.createKey) { $0.caller() },
        CodecCase("keyCreated", PublicMessages.keyCreated) { (key: $0.text(), info: $0.accessKey()) },
        CodecCase("keys", PublicMessages.keys) { generator in generator.some(3) { $0.accessKey() } },
        CodecCase("revokeKey", PublicMessages.revokeKey) { $0.text() },
        CodecCase("caller", PublicMessages.caller) { $0.caller() },
    ]

    static let membership = [
        CodecCase("assignment", InternalMessages.assignment) { $0.assignment() },
        CodecCase("nodeStatus", InternalMessages.nodeStatus) { $0.nodeStatus() },
        CodecCase("heartbeat", InternalMessages.heartbeat) {
            Heartbeat(node: $0.next(), address: $0.text(), cluster: $0.next(), status: $0.nodeStatus(), isDraining: $0.bool())
        },
        CodecCase("heartbeatAnswer", InternalMessages.heartbeatAnswer) { generator in
            HeartbeatAnswer(
                cluster: generator.next(), leadership: generator.bool() ? nil : generator.leadership(),
                coordinators: generator.some(3) { $0.text() }, assignments: generator.some(3) { $0.assignment() },
                models: generator.some(3) { $0.collectionModel() })
        },
        CodecCase("split", InternalMessages.split) { generator in
            let children = generator.some(3) { SplitOrder.Child(number: UInt32($0.below(1 << 20)), range: HashRange(first: $0.number() / 2, last: .max)) }
            return SplitOrder(parent: generator.shard(), children: children, sealEpoch: generator.number(), isClosing: generator.bool())
        },
        CodecCase("splitProgress", InternalMessages.splitProgress) { generator in
            let children = generator.some(3) { SplitProgress.Child(isReady: $0.bool(), end: $0.number()) }
            return SplitProgress(end: generator.number(), isSealed: generator.bool(), isClosed: generator.bool(), children: children)
        },
        CodecCase("merge", InternalMessages.merge) { generator in
            let (shard, border) = (generator.shard(), generator.number() / 2)
            let other = ShardID(incarnation: shard.incarnation, number: UInt32(generator.below(1 << 20)))
            let parents = [
                MergeOrder.Parent(shard: shard, range: HashRange(first: 0, last: border), sealEpoch: generator.number()),
                MergeOrder.Parent(shard: other, range: HashRange(first: border + 1, last: .max), sealEpoch: generator.number()),
            ]
            let child = SplitOrder.Child(number: UInt32(generator.below(1 << 20)), range: HashRange(first: 0, last: .max))
            return MergeOrder(parents: parents, child: child, isClosing: generator.bool())
        },
        CodecCase("mergeProgress", InternalMessages.mergeProgress) { generator in
            let parents = generator.some(3) {
                MergeProgress.Parent(end: $0.number(), isSealed: $0.bool(), isClosed: $0.bool(), taken: $0.number())
            }
            return MergeProgress(parents: parents, isReady: generator.bool(), waiting: generator.number())
        },
        CodecCase("fence", InternalMessages.fence) { (shard: $0.shard(), fence: Fence(epoch: $0.number(), term: $0.number())) },
        CodecCase("fenced", InternalMessages.fenced) {
            FenceAnswer(fence: Fence(epoch: 0, term: 0), node: NodeID($0.next()), lastEpoch: $0.number(), end: $0.number())
        },
        CodecCase("proposal", InternalMessages.proposal) { generator in
            let inSync = generator.some(7) { NodeID($0.next()) }
            return (
                shard: generator.shard(), node: NodeID(generator.next()),
                proposal: Proposal(epoch: generator.number(), version: generator.number(), inSync: inSync)
            )
        },
        CodecCase("resignation", InternalMessages.resignation) { (shard: $0.shard(), node: NodeID($0.next()), epoch: $0.number()) },
        CodecCase("copyDescription", InternalMessages.copyDescription) { generator in
            CopyDescription(
                id: generator.next(), sequence: generator.number(), epoch: generator.number(),
                files: generator.some(4) { CopiedFile(name: $0.text(), sizeBytes: $0.number()) })
        },
        CodecCase("readCopy", InternalMessages.readCopy) { (id: $0.next(), name: $0.text(), offset: $0.number()) },
        CodecCase("copyPiece", InternalMessages.copyPiece) {
            CopyPiece(offset: $0.number(), bytes: $0.bytes($0.below(200)), checksum: $0.small())
        },
        CodecCase("digestRequest", InternalMessages.digestRequest) { generator in
            let queries = 1 + generator.below(999)
            let scopes: [ReplicaDigest.Scope] = [.contents, .answers(queries), .recall(queries)]
            return (shard: generator.shard(), mark: generator.number(), scope: scopes[generator.below(3)])
        },
        CodecCase("digest", InternalMessages.digest) { generator in
            ReplicaDigest(sums: generator.some(9) { $0.next() }, recall: Double(generator.below(1_000)) / 1_000, answers: generator.next())
        },
        CodecCase("endCopy", InternalMessages.endCopy) { $0.next() },
        CodecCase("followRequest", InternalMessages.followRequest) {
            if $0.bool() { return .durable($0.number()) }
            let stream = StreamID(node: NodeID($0.next()), number: $0.number())
            return .start($0.shard(), Follow(stream: stream, epoch: $0.number(), promised: $0.number(), history: $0.history()))
        },
        CodecCase("followReply", InternalMessages.followReply) { generator in
            switch generator.below(4) {
            case 0: return .answer(.agreed(at: generator.number()))
            case 1: return .answer(.transfer)
            case 2: return .answer(.refused(epoch: generator.number()))
            default:
                let records = generator.some(4) {
                    LogRecord(sequence: $0.number(), epoch: $0.number(), payload: $0.bytes($0.below(100)), traceparent: $0.bool() ? nil : "00-\($0.next())")
                }
                return .records(
                    RecordMessage(epoch: generator.number(), previous: generator.number(), committed: generator.number(), records: records))
            }
        },
        CodecCase("health check", HealthMessages.check) { $0.text() },
        CodecCase("health status", HealthMessages.status) { ServingStatus(rawValue: UInt32($0.below(4)))! },
    ]
}
