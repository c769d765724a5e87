import CNeedletailMessages
import CProtobufC
public import NeedletailCore

extension InternalMessages {
    public static let search = MessageCodec<NodeSearchRequest>(
        expectedBytes: expectedBytes,
        write: { request, arena throws(NeedletailError) in try arena.nodeSearch(request) },
        read: { (message: UnsafePointer<Needletail__Internal__V1__SearchRequest>) throws(NeedletailError) in try NodeSearchRequest(message) })

    public static let found = MessageCodec<NodeSearchResponse>(
        expectedBytes: expectedBytes,
        write: { response, arena throws(NeedletailError) in try arena.nodeResponse(response) },
        read: { (message: UnsafePointer<Needletail__Internal__V1__SearchReply>) throws(NeedletailError) in try NodeSearchResponse(message) })

    /// Each has its own deadline, so far away as it was when it was sent.
    public static let searchEach = MessageCodec<[NodeSearchRequest]>(
        expectedBytes: { requests in requests.reduce(1024) { $0 + expectedBytes($1) } },
        write: { requests, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__SearchEachRequest.self)
            message.pointee.n_searches = requests.count
            message.pointee.searches = try arena.list(requests) { request throws(NeedletailError) in
                let timed = try arena.make(Needletail__Internal__V1__TimedSearch.self)
                timed.pointee.search = try arena.nodeSearch(request)
                // One that has passed has to stay one.
                timed.pointee.remaining_nanoseconds = request.deadline.map { UInt64(max(1, $0.remaining.nanoseconds)) } ?? 0
                if let trace = request.trace {
                    timed.pointee.traceparent = try arena.text(trace.parent)
                    timed.pointee.tracestate = try arena.text(trace.state)
                }
                return timed
            }
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__SearchEachRequest>) throws(NeedletailError) in
            try limited(message.pointee.n_searches, Limits.queriesPerBatch, "searches")
            return try messages(message.pointee.searches, message.pointee.n_searches) { timed throws(NeedletailError) in
                var request = try NodeSearchRequest(try need(timed.pointee.search, "search"))
                let remaining = timed.pointee.remaining_nanoseconds
                if remaining > 0 { request.deadline = .after(.nanoseconds(Int64(clamping: remaining))) }
                let parent = string(timed.pointee.traceparent)
                if !parent.isEmpty { request.trace = (parent, string(timed.pointee.tracestate)) }
                return request
            }
        })

    public static let foundEach = MessageCodec<[Result<NodeSearchResponse, NeedletailError>]>(
        expectedBytes: { outcomes in outcomes.reduce(1024) { $0 + ((try? $1.get()).map(expectedBytes) ?? 0) } },
        write: { outcomes, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__SearchEachReply.self)
            message.pointee.n_outcomes = outcomes.count
            message.pointee.outcomes = try arena.list(outcomes, arena.searchOutcome)
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__SearchEachReply>) throws(NeedletailError) in
            try messages(message.pointee.outcomes, message.pointee.n_outcomes) { outcome throws(NeedletailError) in
                if let reply = outcome.pointee.reply { return .success(try NodeSearchResponse(UnsafePointer(reply))) }
                return .failure(NeedletailError(outcome.pointee))
            }
        })

    private static func expectedBytes(_ request: NodeSearchRequest) -> Int { 1024 + request.queries.reduce(0) { $0 + $1.vector.bytes.count + 128 } }
    private static func expectedBytes(_ response: NodeSearchResponse) -> Int { 1024 + response.results.reduce(0) { $0 + $1.count * 256 } }
}

extension NodeSearchRequest {
    fileprivate init(_ message: UnsafePointer<Needletail__Internal__V1__SearchRequest>) throws(NeedletailError) {
        let request = message.pointee
        try limited(request.n_queries, Limits.queriesPerBatch, "queries")
        guard request.n_conditions == 0 || request.n_conditions == request.n_shards else {
            throw NeedletailError(.invalidArgument, "\(request.n_conditions) conditions cannot be those of \(request.n_shards) shards")
        }
        self.init(
            shards: try messages(request.shards, request.n_shards) { shard throws(NeedletailError) in
                ShardID(incarnation: Incarnation(shard.pointee.incarnation), number: shard.pointee.number)
            },
            queries: try messages(request.queries, request.n_queries) { query throws(NeedletailError) in try SearchQuery(query) },
            conditions: try messages(request.conditions, request.n_conditions) { ReadCondition($0.pointee) },
            filter: try PayloadFilter(optional: request.filter))
    }
}

extension NodeSearchResponse {
    fileprivate init(_ message: UnsafePointer<Needletail__Internal__V1__SearchReply>) throws(NeedletailError) {
        let reply = message.pointee
        let results = try messages(reply.results, reply.n_results) { result throws(NeedletailError) in
            try messages(result.pointee.points, result.pointee.n_points) { point throws(NeedletailError) in try ScoredPoint(point) }
        }
        let estimates = try messages(reply.results, reply.n_results) { result in RecallEstimate(internal: result.pointee.recall) }
        let reports = try messages(reply.reports, reply.n_reports) { report throws(NeedletailError) in try ShardReport(report) }
        self.init(results: results, reports: reports, work: SearchWork(distances: reply.distances, hops: reply.hops), estimates: estimates)
    }
}

extension NeedletailError {
    /// A code that this version does not know is still a failure.
    fileprivate init(_ outcome: Needletail__Internal__V1__SearchOutcome) {
        let after = outcome.retry_after_nanoseconds
        self.init(
            Code(rawValue: Int(outcome.error_code)) ?? .unknown, string(outcome.error_message),
            retryAfter: after > 0 ? .nanoseconds(Int64(clamping: after)) : nil)
    }
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
    fileprivate func nodeSearch(
        _ request: NodeSearchRequest
    ) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__Internal__V1__SearchRequest> {
        let message = try make(Needletail__Internal__V1__SearchRequest.self)
        message.pointee.n_shards = request.shards.count
        message.pointee.shards = try list(request.shards, shardID)
        message.pointee.n_queries = request.queries.count
        message.pointee.queries = try list(request.queries, searchQuery)
        message.pointee.n_conditions = request.conditions.count
        message.pointee.conditions = try list(request.conditions) { condition throws(NeedletailError) in
            let part = try make(Needletail__Internal__V1__ReadCondition.self)
            part.pointee.primary = condition.isPrimary ? 1 : 0
            part.pointee.sequence = condition.sequence
            return part
        }
        message.pointee.filter = try bytes(request.filter?.encoded ?? [])
        return message
    }

    fileprivate func nodeResponse(
        _ response: NodeSearchResponse
    ) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__Internal__V1__SearchReply> {
        let message = try make(Needletail__Internal__V1__SearchReply.self)
        message.pointee.n_results = response.results.count
        message.pointee.results = try list(Array(response.results.enumerated())) { index, points throws(NeedletailError) in
            let result = try make(Needletail__Internal__V1__QueryResult.self)
            result.pointee.n_points = points.count
            result.pointee.points = try list(points, internalScored)
            if response.estimates.indices.contains(index), let estimate = response.estimates[index] {
                result.pointee.recall = try internalEstimate(estimate)
            }
            return result
        }
        message.pointee.n_reports = response.reports.count
        message.pointee.reports = try list(response.reports, report)
        message.pointee.distances = response.work.distances
        message.pointee.hops = response.work.hops
        return message
    }

    fileprivate func searchOutcome(
        _ outcome: Result<NodeSearchResponse, NeedletailError>
    ) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__Internal__V1__SearchOutcome> {
        let message = try make(Needletail__Internal__V1__SearchOutcome.self)
        switch outcome {
        case .success(let response): message.pointee.reply = try nodeResponse(response)
        case .failure(let error):
            message.pointee.error_code = UInt32(error.code.rawValue)
            message.pointee.error_message = try text(error.message.withoutNUL)
            message.pointee.retry_after_nanoseconds = UInt64(clamping: error.retryAfter?.nanoseconds ?? 0)
        }
        return message
    }

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
