import NIOCore
public import NeedletailCore
import NeedletailGRPC

extension RemoteCluster {
    public func scroll(_ request: PointsScroll) async throws -> NamedScrollPage {
        // The stream does not say whether points follow its limit, so one more is asked for.
        let limit = request.limit
        guard (1...Limits.scrollPage).contains(limit) else {
            throw NeedletailError(.invalidArgument, "limit must be 1 to \(Limits.scrollPage), not \(limit)")
        }
        var pages = request
        pages.limit = min(limit + 1, Limits.scrollPage)
        var points: [NamedPoint] = []
        for try await page in try await self.points(ScrollStream(pages: pages, total: UInt64(limit) + 1)) {
            points.append(contentsOf: page)
        }
        let hasMore = points.count > limit
        if hasMore { points.removeLast(points.count - limit) }
        return NamedScrollPage(points: points, hasMore: hasMore)
    }

    /// A collection's points in order of their ids, page by page, as one call: the server reads ahead no further than the client's
    /// window.
    public func points(_ scroll: ScrollStream) async throws -> PointPages {
        try Self.refuse(scroll.pages.filter)
        let message = try PublicMessages.scroll.encode(scroll)
        let responses = try await client.serverStreaming(
            PublicMethods.scroll, message, options: CallOptions(deadline: scroll.pages.deadline))
        return PointPages(responses: responses)
    }
}

/// The pages of a scroll. One task reads it, once; dropping it ends the call.
public struct PointPages: AsyncSequence, Sendable {
    public typealias Element = [NamedPoint]
    public typealias Failure = any Error

    let responses: ResponseStream

    public func makeAsyncIterator() -> Iterator { Iterator(responses: responses.makeAsyncIterator()) }

    public struct Iterator: AsyncIteratorProtocol {
        fileprivate var responses: ResponseStream.Iterator

        public mutating func next() async throws -> [NamedPoint]? {
            try await responses.next().map { try PublicMessages.scrollPage.decode(answer: $0) }
        }

        public mutating func next(isolation actor: isolated (any Actor)?) async throws(any Error) -> [NamedPoint]? {
            try await responses.next(isolation: actor).map { try PublicMessages.scrollPage.decode(answer: $0) }
        }
    }
}
