import CNeedletailMessages
import CProtobufC
import NeedletailCore

typealias ScoredPointMessage = Needletail__V1__ScoredPoint

extension NamedQuery {
    init(_ message: UnsafePointer<Needletail__V1__Query>) throws(NeedletailError) {
        let query = message.pointee
        self.init(
            field: string(query.field), vector: try DenseVector(try need(query.vector, "the query's vector")),
            limit: query.limit == 0 ? 10 : Int(query.limit), ef: query.ef == 0 ? nil : Int(query.ef),
            recallTarget: query.recall_target == 0 ? nil : query.recall_target, exact: query.exact != 0, parts: PointParts(query.parts))
    }
}

extension NamedScoredPoint {
    init(_ message: UnsafePointer<ScoredPointMessage>) throws(NeedletailError) {
        let point = message.pointee
        self.init(
            id: try PointID(required: point.id), score: point.score, distance: point.distance,
            vectors: try NamedVector.list(point.vectors, point.n_vectors),
            payload: try PayloadReader.encode(point.payload, point.n_payload), sequence: point.sequence)
    }

    static func list(
        _ points: UnsafeMutablePointer<UnsafeMutablePointer<ScoredPointMessage>?>?, _ count: Int
    ) throws(NeedletailError) -> [NamedScoredPoint] {
        try messages(points, count) { point throws(NeedletailError) in try NamedScoredPoint(point) }
    }
}

extension RecallEstimate {
    /// nil when there is none. Of how many shards it speaks is not in the public API.
    init?(_ message: UnsafePointer<Needletail__V1__RecallEstimate>?) {
        guard let estimate = message?.pointee else { return nil }
        self.init(
            recall: estimate.recall, isReachable: estimate.target_unreachable == 0, isCalibrated: estimate.uncalibrated == 0,
            sampleQueries: Int(estimate.sample_queries))
    }
}

extension SearchWork {
    init(_ message: UnsafeMutablePointer<Needletail__V1__SearchWork>?) {
        self.init(distances: message?.pointee.distances ?? 0, hops: message?.pointee.hops ?? 0)
    }
}

extension MessageArena {
    func query(_ query: NamedQuery) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__V1__Query> {
        let message = try make(Needletail__V1__Query.self)
        message.pointee.field = try text(query.field)
        message.pointee.vector = try vector(query.vector)
        message.pointee.limit = try positive(query.limit, "limit")
        if let ef = query.ef { message.pointee.ef = try positive(ef, "ef") }
        message.pointee.recall_target = query.recallTarget ?? 0
        message.pointee.exact = query.exact ? 1 : 0
        message.pointee.parts = try parts(query.parts)
        return message
    }

    func scored(_ point: NamedScoredPoint) throws(NeedletailError) -> UnsafeMutablePointer<ScoredPointMessage> {
        let message = try make(ScoredPointMessage.self)
        message.pointee.id = try id(point.id)
        message.pointee.score = point.score
        message.pointee.distance = point.distance
        message.pointee.n_vectors = point.vectors.count
        message.pointee.vectors = try vectors(point.vectors)
        (message.pointee.n_payload, message.pointee.payload) = try PayloadWriter.entries(point.payload, in: self)
        message.pointee.sequence = point.sequence
        return message
    }

    func estimate(_ estimate: RecallEstimate) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__V1__RecallEstimate> {
        let message = try make(Needletail__V1__RecallEstimate.self)
        message.pointee.recall = estimate.recall
        message.pointee.target_unreachable = estimate.isReachable ? 0 : 1
        message.pointee.uncalibrated = estimate.isCalibrated ? 0 : 1
        message.pointee.sample_queries = UInt32(clamping: estimate.sampleQueries)
        return message
    }

    func work(_ work: SearchWork) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__V1__SearchWork> {
        let message = try make(Needletail__V1__SearchWork.self)
        message.pointee.distances = work.distances
        message.pointee.hops = work.hops
        return message
    }
}
