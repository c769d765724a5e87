import NeedletailClient

/// How many points a collection has, as far as its shards say.
enum PointCount: Sendable {
    case known(UInt64)
    /// Some shards do not answer: points of those that serve, by what their workers last reported.
    case partial(UInt64, shards: Int, of: Int)
    /// There is no such collection any more.
    case gone

    /// - Throws: only when the coordinator itself does not answer.
    static func of(_ collection: String, _ cluster: RemoteCluster, deadline: @autoclosure () -> Deadline) async throws -> PointCount {
        do {
            return .known(try await cluster.count(collection, read: .everything, deadline: deadline()).count)
        } catch let error as NeedletailError where error.code == .notFound {
            return .gone
        } catch is NeedletailError {
            let shards = try await cluster.shards(of: collection, deadline: deadline())
            let serving = shards.flatMap(\.replicas).filter(\.isPrimary).compactMap(\.status).filter { $0.state == .ready || $0.state == .readOnly }
            return .partial(serving.reduce(0) { $0 + $1.pointCount }, shards: serving.count, of: shards.count)
        }
    }

    var text: String {
        switch self {
        case .known(let count): "\(count)"
        case .partial(_, shards: 0, of: let total): "unknown (0 of \(total) shards answer)"
        case .partial(let count, let answering, let total): "\(count) in \(answering) of \(total) shards"
        case .gone: "deleted"
        }
    }

    /// The number when it is the whole one.
    var json: PayloadValue { if case .known(let count) = self { .count(count) } else { .null } }
}
