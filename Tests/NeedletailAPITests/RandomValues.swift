import NeedletailAPI
import NeedletailCluster
import NeedletailCore
import NeedletailTestSupport

/// Random values of everything that travels.
extension SeededGenerator {
    mutating func bool() -> Bool { next() & 1 == 0 }
    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
    mutating func some<Value>(_ atMost: Int, _ make: (inout SeededGenerator) -> Value) -> [Value] {
        (0..<below(atMost + 1)).map { _ in make(&self) }
    }

    mutating func number() -> UInt64 { next() >> UInt64(below(64)) }
    mutating func small() -> UInt32 { UInt32(truncatingIfNeeded: next()) >> UInt32(below(32)) }

    mutating func text() -> String {
        let letters = Array("abcdefgXYZ019 _-.äöß€𝄞\n\"")
        return String((0..<below(20)).map { _ in letters[below(letters.count)] })
    }

    mutating func id() -> PointID { bool() ? .number(number()) : .uuid(high: next(), low: next()) }
    mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) } }

    mutating func vector() -> DenseVector {
        let element = VectorElement.allCases[below(4)]
        return DenseVector(element: element, bytes: bytes(element.sizeBytes(dimensions: 8 * below(12))))
    }

    mutating func namedVectors() -> [NamedVector] { (0..<below(4)).map { NamedVector(field: "f\($0)" + text(), vector: vector()) } }
    mutating func fieldVectors() -> [FieldVector] { (0..<below(4)).map { FieldVector(field: $0, vector: vector()) } }

    mutating func value(depth: Int = 0) -> PayloadValue {
        switch below(depth < 4 ? 7 : 5) {
        case 0: .null
        case 1: .bool(bool())
        case 2: .integer(Int64(bitPattern: number()))
        case 3: .double(gaussian())
        case 4: .string(text())
        case 5: .list(some(4) { $0.value(depth: depth + 1) })
        default: .map(payload(depth: depth + 1))
        }
    }

    mutating func payload(depth: Int = 0) -> Payload {
        Dictionary(some(5) { (PayloadKey($0.text()), $0.value(depth: depth)) }, uniquingKeysWith: { first, _ in first })
    }

    /// Stored form, as the wire gives it back: keys in the order of their bytes.
    mutating func payloadBytes() -> [UInt8] { PayloadCoding.encode(payload()) }

    mutating func parts() -> PointParts { PointParts(payload: bool(), vectors: bool()) }

    mutating func spec() -> CollectionSpec {
        CollectionSpec(
            name: "c" + text(), fields: some(4) { $0.field() }, shardCount: 1 + below(256), replicationFactor: 1 + below(3),
            durability: bool() ? .everyCommit : .interval(milliseconds: 1 + below(60_000)), writeConsistency: writeConsistency(),
            minInSync: 1 + below(7))
    }

    mutating func writeConsistency() -> WriteConsistency { WriteConsistency.allCases[below(3)] }

    mutating func operation() -> OperationID? { bool() ? nil : OperationID(high: 1 | next(), low: next()) }

    mutating func condition() -> ReadCondition { ReadCondition(isPrimary: bool(), sequence: number()) }

    mutating func filter() -> PayloadFilter? {
        if bool() { return nil }
        let conditions = (0...below(3)).map { index in
            let values: [PayloadFilter.Value] = (0...below(3)).map { _ in
                switch below(3) {
                case 0: .bool(bool())
                case 1: .integer(Int64(truncatingIfNeeded: next()))
                default: .string(text())
                }
            }
            return PayloadFilter.Condition(key: "key\(index)", values: values)
        }
        return try? PayloadFilter(conditions)
    }

    mutating func caller() -> CallerInfo {
        let grants: [Grant] = some(3) { generator in
            let role = Role.allCases[generator.below(3)]
            return generator.bool() ? (try? Grant(role, on: .cluster)) : (try? Grant(role, on: .collections("c\(generator.below(9))*")))
        }.compactMap(\.self)
        let limits = RequestLimits(
            requestsPerSecond: bool() ? nil : Double(1 + below(99)), requestBytes: bool() ? nil : 1 + below(1 << 20), batch: bool() ? nil : 1 + below(99),
            ef: bool() ? nil : 1 + below(99), limit: bool() ? nil : 1 + below(99))
        return CallerInfo(name: text(), grants: grants, filter: filter(), limits: limits, expiresMilliseconds: bool() ? nil : 1 + number() / 2)
    }

    mutating func accessKey() -> AccessKeyInfo {
        AccessKeyInfo(id: text(), caller: caller(), createdMilliseconds: number(), lastUsedMilliseconds: bool() ? nil : 1 + number() / 2)
    }

    mutating func readOptions() -> ReadOptions {
        ReadOptions(consistency: ReadConsistency.allCases[below(2)], session: bool() ? nil : session())
    }

    /// Of one shard, since values are compared as text and a dictionary has no order.
    mutating func session() -> Session { Session(incarnation: Incarnation(next()), sequences: [UInt32(below(256)): number()]) }

    mutating func leadership() -> HeartbeatAnswer.Leadership {
        .init(term: number(), lease: .milliseconds(below(10_000)), epochs: bool() ? [:] : [shard(): number()])
    }

    /// Of a log with its beginning or without.
    mutating func history() -> EpochHistory {
        var history = EpochHistory()
        for epoch in 0..<UInt64(below(5)) { history.append(epoch: epoch + 1, through: history.end + UInt64(1 + below(100))) }
        if bool(), history.end > 0 { history.trim(through: UInt64(below(Int(history.end)))) }
        return history
    }

    mutating func collectionInfo() -> CollectionInfo {
        CollectionInfo(spec: spec(), incarnation: Incarnation(next()), codecs: some(4) { $0.codecProgress() })
    }

    mutating func codecProgress() -> CodecProgress { CodecProgress(version: number(), encoded: number(), total: number(), problem: text()) }

    mutating func collectionModel() -> CollectionModel {
        CollectionModel(incarnation: Incarnation(next()), model: FieldModel(field: below(16), version: 1 | number(), bytes: bytes(below(50))))
    }

    mutating func field() -> VectorField {
        VectorField(
            name: text(), dimensions: below(20_000), metric: Metric.allCases[below(4)], element: VectorElement.allCases[below(4)],
            index: index())
    }

    mutating func index() -> IndexSpec {
        let maps: [TransformSpec.Map] = [
            .none, .rotation(seed: number()), .pca(1 + below(500)), .leanVec(1 + below(500), queryAware: bool()), .whitening(1 + below(500)),
            .fourier(1 + below(500)),
        ]
        return IndexSpec(
            transform: TransformSpec(prefix: bool() ? nil : 1 + below(2000), centre: bool(), map: maps[below(maps.count)]),
            graph: GraphParameters(m: 1 + below(200), efConstruction: 1 + below(5000), seed: 1 | next()),
            codec: CodecSpec.examples[below(CodecSpec.examples.count)],
            rescore: RescoreSpec(count: bool() ? nil : 1 + below(1000), source: bool() ? .memory : .file))
    }

    mutating func shard(public isPublic: Bool = false) -> ShardID {
        ShardID(incarnation: Incarnation(isPublic ? 0 : next()), number: small())
    }

    mutating func range() -> HashRange {
        let (a, b) = (next(), next())
        return HashRange(first: min(a, b), last: max(a, b))
    }

    mutating func assignment() -> ReplicaAssignment {
        ReplicaAssignment(
            shard: shard(), range: range(), epoch: number(), collection: spec(), primary: NodeID(next()),
            members: some(3) { .init(node: NodeID($0.next()), address: $0.text(), isInSync: $0.bool()) }, version: number())
    }

    mutating func report(public isPublic: Bool = false) -> ShardReport {
        let code: NeedletailError.Code = isPublic ? .unavailable : NeedletailError.Code.allCases[below(16)]
        let outcome: ShardReport.Outcome = [.complete, .truncated, .failed(NeedletailError(code, text()))][below(3)]
        var report = ShardReport(shard: shard(public: isPublic), outcome: outcome, appliedSequence: number())
        if isPublic { return report }
        (report.waited, report.searched) = (.nanoseconds(Int64(below(1 << 40))), .nanoseconds(Int64(below(1 << 40))))
        report.work = SearchWork(distances: number(), hops: number())
        return report
    }

    mutating func failure() -> NeedletailError {
        NeedletailError(NeedletailError.Code.allCases[below(16)], text(), retryAfter: bool() ? nil : .nanoseconds(1 + Int64(below(1 << 40))))
    }

    mutating func coverage() -> Coverage { Coverage(shards: some(4) { $0.report(public: true) }, session: bool() ? nil : session()) }

    mutating func replicaStatus(_ shard: ShardID, epoch: UInt64) -> ReplicaStatus {
        ReplicaStatus(
            shard: shard, state: [.loading, .ready, .readOnly, .failed][below(4)], reason: text(), epoch: epoch,
            appliedSequence: number(),
            pointCount: number(), memoryBytes: number(), diskBytes: number(), dataBytes: number())
    }

    mutating func nodeStatus() -> NodeStatus {
        NodeStatus(
            replicas: some(4) {
                var status = $0.replicaStatus($0.shard(), epoch: $0.number())
                status.workNanoseconds = $0.number()
                return status
            })
    }

    mutating func namedPoint() -> NamedPoint {
        NamedPoint(id: id(), vectors: namedVectors(), payload: payloadBytes(), sequence: number())
    }

    mutating func storedPoint() -> StoredPoint {
        StoredPoint(id: id(), vectors: fieldVectors(), payload: bytes(below(30)), sequence: number())
    }

    mutating func namedScored() -> NamedScoredPoint {
        NamedScoredPoint(
            id: id(), score: Float(gaussian()), distance: Float(gaussian()), vectors: namedVectors(), payload: payloadBytes(),
            sequence: number())
    }

    mutating func scored() -> ScoredPoint {
        ScoredPoint(id: id(), score: Float(gaussian()), vectors: fieldVectors(), payload: bytes(below(30)), sequence: number())
    }

    mutating func query() -> NamedQuery {
        NamedQuery(
            field: text(), vector: vector(), limit: 1 + below(10_000), ef: bool() ? 1 + below(1000) : nil,
            recallTarget: bool() ? uniform() : nil, exact: bool(), parts: parts())
    }

    /// Of one shard: the public API does not say of how many.
    mutating func estimate() -> RecallEstimate? {
        bool() ? RecallEstimate(recall: uniform(), isReachable: bool(), isCalibrated: true, sampleQueries: below(600)) : nil
    }

    /// Above 0 and below 1.
    private mutating func uniform() -> Double { Double(1 + below(9_999)) / 10_000 }

    mutating func searchQuery() -> SearchQuery {
        SearchQuery(
            field: below(16), vector: vector(), limit: 1 + below(10_000), ef: bool() ? 1 + below(1000) : nil,
            recallTarget: bool() ? uniform() : nil, exact: bool(), parts: parts())
    }

    mutating func acknowledgement() -> ShardWrite.Acknowledgement { bool() ? .applied : .durable }

    mutating func write(_ operation: (inout SeededGenerator) -> NamedOperation) -> PointsWrite {
        PointsWrite(
            collection: text(), operations: some(6, operation), acknowledgement: acknowledgement(),
            consistency: bool() ? nil : writeConsistency(), operation: self.operation())
    }

    mutating func summary() -> WriteSummary {
        let sequences = Dictionary(some(4) { ($0.small(), $0.number()) }, uniquingKeysWith: { first, _ in first })
        return WriteSummary(
            applied: number(), notFound: number(), sequences: sequences, incarnation: sequences.isEmpty ? Incarnation(0) : Incarnation(next()))
    }
}
