import CNeedletailMessages
import CProtobufC
public import NeedletailCore

/// A scroll as the streaming method takes it: pages of `pages.limit` points, `total` points in all.
public struct ScrollStream: Sendable {
    public var pages: PointsScroll
    /// nil: all points.
    public var total: UInt64?

    public init(pages: PointsScroll, total: UInt64? = nil) {
        self.pages = pages
        self.total = total
    }
}

extension PublicMessages {
    static let defaultPage = 256

    public static let getPoints = MessageCodec<PointsGet>(
        write: { request, arena throws(NeedletailError) in try arena.getRequest(request) },
        read: { message throws(NeedletailError) in try PointsGet(message) })

    public static let points = MessageCodec<PointsAnswer>(
        write: { answer, arena throws(NeedletailError) in try arena.getResponse(answer) },
        read: { message throws(NeedletailError) in try PointsAnswer(message) })

    public static let scroll = MessageCodec<ScrollStream>(
        write: { scroll, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__ScrollRequest.self)
            message.pointee.collection = try arena.text(scroll.pages.collection)
            message.pointee.parts = try arena.parts(scroll.pages.parts)
            if let after = scroll.pages.after { message.pointee.after = try arena.id(after) }
            message.pointee.page = try positive(scroll.pages.limit, "limit")
            message.pointee.read = try arena.readOptions(scroll.pages.read)
            if let total = scroll.total {
                guard total > 0 else { throw NeedletailError(.invalidArgument, "limit must be at least 1, not 0") }
                message.pointee.limit = total
            }
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__ScrollRequest>) throws(NeedletailError) in
            let request = message.pointee
            guard request.page <= Limits.scrollPage else {
                throw NeedletailError(.invalidArgument, "page must be 1 to \(Limits.scrollPage), not \(request.page)")
            }
            var after: PointID?
            if let message = request.after { after = try PointID(message) }
            let pages = PointsScroll(
                collection: string(request.collection), after: after, limit: request.page == 0 ? defaultPage : Int(request.page),
                parts: PointParts(request.parts), read: try ReadOptions(request.read))
            return ScrollStream(pages: pages, total: request.limit == 0 ? nil : request.limit)
        })

    /// One message of a scroll's answer.
    public static let scrollPage = MessageCodec<[NamedPoint]>(
        write: { points, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__ScrollResponse.self)
            message.pointee.n_points = points.count
            message.pointee.points = try arena.list(points, arena.stored)
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__ScrollResponse>) throws(NeedletailError) in
            try messages(message.pointee.points, message.pointee.n_points) { point throws(NeedletailError) in try NamedPoint(point)
            }
        })

    public static let count = MessageCodec<(collection: String, read: ReadOptions)>(
        write: { count, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__CountRequest.self)
            message.pointee.collection = try arena.text(count.collection)
            message.pointee.read = try arena.readOptions(count.read)
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__CountRequest>) throws(NeedletailError) in
            (collection: string(message.pointee.collection), read: try ReadOptions(message.pointee.read))
        })

    public static let counted = MessageCodec<CountAnswer>(
        write: { answer, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__CountResponse.self)
            message.pointee.count = answer.count
            message.pointee.coverage = try arena.coverage(answer.coverage)
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__CountResponse>) throws(NeedletailError) in
            CountAnswer(count: message.pointee.count, coverage: try Coverage(message.pointee.coverage))
        })
}
