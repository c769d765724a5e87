import CNeedletailMessages
import CProtobufC
public import NeedletailCore

extension PublicMessages {
    /// A search with one query.
    public static let search = MessageCodec<PointsSearch>(
        expectedBytes: { search in 1024 + search.queries.reduce(0) { $0 + $1.vector.bytes.count } },
        write: { search, arena throws(NeedletailError) in
            guard let query = search.queries.first, search.queries.count == 1 else {
                throw NeedletailError(.invalidArgument, "Search takes one query, not \(search.queries.count); use SearchBatch")
            }
            let message = try arena.make(Needletail__V1__SearchRequest.self)
            message.pointee.collection = try arena.text(search.collection)
            message.pointee.query = try arena.query(query)
            message.pointee.allow_partial = search.allowPartial ? 1 : 0
            message.pointee.read = try arena.readOptions(search.read)
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__SearchRequest>) throws(NeedletailError) in
            PointsSearch(
                collection: string(message.pointee.collection), queries: [try NamedQuery(try need(message.pointee.query, "query"))],
                allowPartial: message.pointee.allow_partial != 0, read: try ReadOptions(message.pointee.read))
        })

    /// The answer to one query.
    public static let found = MessageCodec<SearchAnswer>(
        expectedBytes: { answer in 2048 + 512 * (answer.results.first?.count ?? 0) },
        write: { answer, arena throws(NeedletailError) in
            let points = answer.results.first ?? []
            let message = try arena.make(Needletail__V1__SearchResponse.self)
            message.pointee.n_points = points.count
            message.pointee.points = try arena.list(points, arena.scored)
            message.pointee.coverage = try arena.coverage(answer.coverage)
            message.pointee.work = try arena.work(answer.work)
            message.pointee.recall = try answer.estimate(0).map(arena.estimate)
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__SearchResponse>) throws(NeedletailError) in
            SearchAnswer(
                results: [try NamedScoredPoint.list(message.pointee.points, message.pointee.n_points)],
                coverage: try Coverage(message.pointee.coverage), work: SearchWork(message.pointee.work),
                estimates: [RecallEstimate(message.pointee.recall)])
        })

    public static let searchBatch = MessageCodec<PointsSearch>(
        expectedBytes: { search in 1024 + search.queries.reduce(0) { $0 + $1.vector.bytes.count + 256 } },
        write: { search, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__SearchBatchRequest.self)
            message.pointee.collection = try arena.text(search.collection)
            message.pointee.n_queries = search.queries.count
            message.pointee.queries = try arena.list(search.queries, arena.query)
            message.pointee.allow_partial = search.allowPartial ? 1 : 0
            message.pointee.read = try arena.readOptions(search.read)
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__SearchBatchRequest>) throws(NeedletailError) in
            let request = message.pointee
            try limited(request.n_queries, Limits.queriesPerBatch, "queries")
            let queries = try messages(request.queries, request.n_queries) { query throws(NeedletailError) in try NamedQuery(query)
            }
            return PointsSearch(
                collection: string(request.collection), queries: queries, allowPartial: request.allow_partial != 0,
                read: try ReadOptions(request.read))
        })

    public static let batchFound = MessageCodec<SearchAnswer>(
        expectedBytes: { answer in 2048 + 512 * answer.results.reduce(0) { $0 + $1.count } },
        write: { answer, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__SearchBatchResponse.self)
            message.pointee.n_results = answer.results.count
            message.pointee.results = try arena.list(Array(answer.results.enumerated())) { index, points throws(NeedletailError) in
                let result = try arena.make(Needletail__V1__SearchResult.self)
                result.pointee.n_points = points.count
                result.pointee.points = try arena.list(points, arena.scored)
                result.pointee.recall = try answer.estimate(index).map(arena.estimate)
                return result
            }
            message.pointee.coverage = try arena.coverage(answer.coverage)
            message.pointee.work = try arena.work(answer.work)
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__SearchBatchResponse>) throws(NeedletailError) in
            let results = try messages(message.pointee.results, message.pointee.n_results) { result throws(NeedletailError) in
                try NamedScoredPoint.list(result.pointee.points, result.pointee.n_points)
            }
            let estimates = try messages(message.pointee.results, message.pointee.n_results) { result in RecallEstimate(result.pointee.recall) }
            return SearchAnswer(
                results: results, coverage: try Coverage(message.pointee.coverage),
                work: SearchWork(message.pointee.work), estimates: estimates)
        })
}

extension SearchAnswer {
    fileprivate func estimate(_ query: Int) -> RecallEstimate? { estimates.indices.contains(query) ? estimates[query] : nil }
}
