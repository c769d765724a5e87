import CNeedletailMessages
import CProtobufC
public import NeedletailCore

extension InternalMessages {
    public static let search = MessageCodec<NodeSearchRequest>(
        expectedBytes: { request in 1024 + request.queries.reduce(0) { $0 + $1.vector.bytes.count + 128 } },
        write: { request, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__SearchRequest.self)
            message.pointee.n_shards = request.shards.count
            message.pointee.shards = try arena.list(request.shards, arena.shardID)
            message.pointee.n_queries = request.queries.count
            message.pointee.queries = try arena.list(request.queries, arena.searchQuery)
            message.pointee.n_conditions = request.conditions.count
            message.pointee.conditions = try arena.list(request.conditions) { condition throws(NeedletailError) in
                let part = try arena.make(Needletail__Internal__V1__ReadCondition.self)
                part.pointee.primary = condition.isPrimary ? 1 : 0
                part.pointee.sequence = condition.sequence
                return part
            }
            message.pointee.filter = try arena.bytes(request.filter?.encoded ?? [])
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__SearchRequest>) throws(NeedletailError) in
            let request = message.pointee
            try limited(request.n_queries, Limits.queriesPerBatch, "queries")
            guard request.n_conditions == 0 || request.n_conditions == request.n_shards else {
                throw NeedletailError(.invalidArgument, "\(request.n_conditions) conditions cannot be those of \(request.n_shards) shards")
            }
            return NodeSearchRequest(
                shards: try messages(request.shards, request.n_shards) { shard throws(NeedletailError) in
                    ShardID(incarnation: Incarnation(shard.pointee.incarnation), number: shard.pointee.number)
                },
                queries: try messages(request.queries, request.n_queries) { query throws(NeedletailError) in try SearchQuery(query)
                },
                conditions: try messages(request.conditions, request.n_conditions) { ReadCondition($0.pointee) },
                filter: try PayloadFilter(optional: request.filter))
        })

    public static let found = MessageCodec<NodeSearchResponse>(
        expectedBytes: { response in 1024 + response.results.reduce(0) { $0 + $1.count * 256 } },
        write: { response, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__SearchReply.self)
            message.pointee.n_results = response.results.count
            message.pointee.results = try arena.list(Array(response.results.enumerated())) { index, points throws(NeedletailError) in
                let result = try arena.make(Needletail__Internal__V1__QueryResult.self)
                result.pointee.n_points = points.count
                result.pointee.points = try arena.list(points, arena.internalScored)
                if response.estimates.indices.contains(index), let estimate = response.estimates[index] {
                    result.pointee.recall = try arena.internalEstimate(estimate)
                }
                return result
            }
            message.pointee.n_reports = response.reports.count
            message.pointee.reports = try arena.list(response.reports, arena.report)
            message.pointee.distances = response.work.distances
            message.pointee.hops = response.work.hops
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__SearchReply>) throws(NeedletailError) in
            let reply = message.pointee
            let results = try messages(reply.results, reply.n_results) { result throws(NeedletailError) in
                try messages(result.pointee.points, result.pointee.n_points) { point throws(NeedletailError) in
                    try ScoredPoint(point)
                }
            }
            let estimates = try messages(reply.results, reply.n_results) { result in RecallEstimate(internal: result.pointee.recall) }
            let reports = try messages(reply.reports, reply.n_reports) { report throws(NeedletailError) in try ShardReport(report) }
            return NodeSearchResponse(
                results: results, reports: reports, work: SearchWork(distances: reply.distances, hops: reply.hops), estimates: estimates)
        })
}

extension SearchQuery {
    fileprivate init(_ message: UnsafePointer<Needletail__Internal__V1__Query>) throws(NeedletailError) {
        let query = message.pointee
        guard query.field < UInt32(Limits.fieldsPerCollection), query.limit > 0 else {
            throw NeedletailError(.invalidArgument, "a query on field \(query.field) for \(query.limit) points cannot be right")
        }
        self.init(
            field: Int(query.field),
            vector: DenseVector(element: try VectorElement(number: query.element), bytes: byteArray(query.data)),
            limit: Int(query.limit), ef: query.ef == 0 ? nil : Int(query.ef),
            recallTarget: query.recall_target == 0 ? nil : query.recall_target, exact: query.exact != 0,
            parts: PointParts(payload: query.with_payload != 0, vectors: query.with_vectors != 0))
    }
}

extension RecallEstimate {
    /// nil when there is none.
    fileprivate init?(internal message: UnsafePointer<Needletail__Internal__V1__RecallEstimate>?) {
        guard let estimate = message?.pointee else { return nil }
        self.init(
            recall: estimate.recall, isReachable: estimate.target_unreachable == 0, isCalibrated: estimate.uncalibrated == 0,
            sampleQueries: Int(estimate.sample_queries), shards: Int(estimate.shards))
    }
}

extension ScoredPoint {
    fileprivate init(_ message: UnsafePointer<Needletail__Internal__V1__Scored>) throws(NeedletailError) {
        let point = message.pointee
        self.init(
            id: try PointID(required: point.id), score: point.score, vectors: try FieldVector.list(point.vectors, point.n_vectors),
            payload: byteArray(point.payload), sequence: point.sequence)
    }
}

extension ShardReport {
    fileprivate init(_ message: UnsafePointer<Needletail__Internal__V1__ShardReport>) throws(NeedletailError) {
        let report = message.pointee
        let outcome: Outcome =
            if report.error_code != 0 {
                // A code this version does not know is still a failure.
                .failed(
                    NeedletailError(
                        NeedletailError.Code(rawValue: Int(report.error_code)) ?? .unknown, string(report.error_message)))
            } else {
                report.truncated != 0 ? .truncated : .complete
            }
        self.init(shard: try ShardID(report.shard), outcome: outcome, appliedSequence: report.applied_sequence)
        waited = .nanoseconds(Int64(clamping: report.waited_nanoseconds))
        searched = .nanoseconds(Int64(clamping: report.searched_nanoseconds))
        work = SearchWork(distances: report.distances, hops: report.hops)
    }
}

extension MessageArena {
    fileprivate func searchQuery(_ query: SearchQuery) throws(NeedletailError) -> UnsafeMutablePointer<
        Needletail__Internal__V1__Query
    > {
        let message = try make(Needletail__Internal__V1__Query.self)
        message.pointee.field = UInt32(clamping: query.field)
        message.pointee.element = UInt32(query.vector.element.rawValue)
        message.pointee.data = try bytes(query.vector.bytes)
        message.pointee.limit = try positive(query.limit, "limit")
        if let ef = query.ef { message.pointee.ef = try positive(ef, "ef") }
        message.pointee.recall_target = query.recallTarget ?? 0
        message.pointee.exact = query.exact ? 1 : 0
        message.pointee.with_payload = query.parts.payload ? 1 : 0
        message.pointee.with_vectors = query.parts.vectors ? 1 : 0
        return message
    }

    fileprivate func internalEstimate(
        _ estimate: RecallEstimate
    ) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__Internal__V1__RecallEstimate> {
        let message = try make(Needletail__Internal__V1__RecallEstimate.self)
        message.pointee.recall = estimate.recall
        message.pointee.target_unreachable = estimate.isReachable ? 0 : 1
        message.pointee.uncalibrated = estimate.isCalibrated ? 0 : 1
        message.pointee.sample_queries = UInt32(clamping: estimate.sampleQueries)
        message.pointee.shards = UInt32(clamping: estimate.shards)
        return message
    }

    fileprivate func internalScored(
        _ point: ScoredPoint
    ) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__Internal__V1__Scored> {
        let message = try make(Needletail__Internal__V1__Scored.self)
        message.pointee.id = try internalID(point.id)
        message.pointee.score = point.score
        message.pointee.sequence = point.sequence
        message.pointee.payload = try bytes(point.payload)
        message.pointee.n_vectors = point.vectors.count
        message.pointee.vectors = try list(point.vectors, fieldVector)
        return message
    }

    fileprivate func report(_ report: ShardReport) throws(NeedletailError) -> UnsafeMutablePointer<
        Needletail__Internal__V1__ShardReport
    > {
        let message = try make(Needletail__Internal__V1__ShardReport.self)
        message.pointee.shard = try shardID(report.shard)
        message.pointee.applied_sequence = report.appliedSequence
        message.pointee.waited_nanoseconds = UInt64(clamping: report.waited.nanoseconds)
        message.pointee.searched_nanoseconds = UInt64(clamping: report.searched.nanoseconds)
        message.pointee.distances = report.work.distances
        message.pointee.hops = report.work.hops
        switch report.outcome {
        case .complete: break
        case .truncated: message.pointee.truncated = 1
        case .failed(let error):
            message.pointee.error_code = UInt32(error.code.rawValue)
            message.pointee.error_message = try text(error.message.withoutNUL)
        }
        return message
    }
}
