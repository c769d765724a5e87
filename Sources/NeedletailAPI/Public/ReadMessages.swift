import CNeedletailMessages
import CProtobufC
import NeedletailCore

typealias StoredPointMessage = Needletail__V1__StoredPoint

extension PointParts {
    init(_ message: UnsafeMutablePointer<Needletail__V1__PointParts>?) {
        self.init(payload: message?.pointee.payload ?? 0 != 0, vectors: message?.pointee.vectors ?? 0 != 0)
    }
}

extension NamedPoint {
    init(_ message: UnsafePointer<StoredPointMessage>) throws(NeedletailError) {
        let point = message.pointee
        self.init(
            id: try PointID(required: point.id), vectors: try NamedVector.list(point.vectors, point.n_vectors),
            payload: try PayloadReader.encode(point.payload, point.n_payload), sequence: point.sequence)
    }
}

extension PointsGet {
    init(_ message: UnsafePointer<Needletail__V1__GetPointsRequest>) throws(NeedletailError) {
        let request = message.pointee
        self.init(
            collection: string(request.collection), ids: try PointID.list(request.ids, request.n_ids),
            parts: PointParts(request.parts), read: try ReadOptions(request.read))
    }
}

extension PointsAnswer {
    init(_ message: UnsafePointer<Needletail__V1__GetPointsResponse>) throws(NeedletailError) {
        let response = message.pointee
        self.init(
            points: try messages(response.points, response.n_points) { point throws(NeedletailError) in try NamedPoint(point) },
            coverage: try Coverage(response.coverage))
    }
}

extension MessageArena {
    func parts(_ parts: PointParts) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__V1__PointParts> {
        let message = try make(Needletail__V1__PointParts.self)
        message.pointee.payload = parts.payload ? 1 : 0
        message.pointee.vectors = parts.vectors ? 1 : 0
        return message
    }

    func stored(_ point: NamedPoint) throws(NeedletailError) -> UnsafeMutablePointer<StoredPointMessage> {
        let message = try make(StoredPointMessage.self)
        message.pointee.id = try id(point.id)
        message.pointee.n_vectors = point.vectors.count
        message.pointee.vectors = try vectors(point.vectors)
        (message.pointee.n_payload, message.pointee.payload) = try PayloadWriter.entries(point.payload, in: self)
        message.pointee.sequence = point.sequence
        return message
    }

    func getRequest(_ request: PointsGet) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__V1__GetPointsRequest> {
        let message = try make(Needletail__V1__GetPointsRequest.self)
        message.pointee.collection = try text(request.collection)
        message.pointee.n_ids = request.ids.count
        message.pointee.ids = try list(request.ids, id)
        message.pointee.parts = try parts(request.parts)
        message.pointee.read = try readOptions(request.read)
        return message
    }

    func getResponse(_ answer: PointsAnswer) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__V1__GetPointsResponse> {
        let message = try make(Needletail__V1__GetPointsResponse.self)
        message.pointee.n_points = answer.points.count
        message.pointee.points = try list(answer.points, stored)
        message.pointee.coverage = try coverage(answer.coverage)
        return message
    }
}
