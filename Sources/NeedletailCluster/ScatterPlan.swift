public import NeedletailCore

/// One request a node, not one a shard: which shards to ask where.
public struct ScatterPlan: Sendable {
    public struct Part: Sendable {
        public var node: NodeID
        public var shards: [ShardID]
    }

    public var parts: [Part]

    /// - Parameter choices: the replica to ask of each shard.
    public init(_ choices: [(shard: ShardID, node: NodeID)]) {
        parts = []
        for choice in choices.sorted(by: { $0.node < $1.node }) {
            if parts.last?.node != choice.node { parts.append(Part(node: choice.node, shards: [])) }
            parts[parts.count - 1].shards.append(choice.shard)
        }
    }
}

/// Judges the shard reports of an answer: complete, partial as allowed, or failed.
public enum CoverageVerdict {
    /// - Throws: when something is missing and the caller did not allow that: the first shard's error, `deadlineExceeded` when
    ///   searches were cut short. When nothing at all answered, it fails even if partial answers are allowed. When every shard that
    ///   failed says that the request is wrong, what it says is the whole error: asking again would not help.
    public static func check(_ reports: [ShardReport], allowPartial: Bool) throws(NeedletailError) {
        var errors: [NeedletailError] = []
        var isTruncated = false
        var answered = 0
        for report in reports {
            switch report.outcome {
            case .complete: answered += 1
            case .truncated:
                answered += 1
                isTruncated = true
            case .failed(let error): errors.append(error)
            }
        }
        if var error = errors.first, !allowPartial || answered == 0 {
            if !Self.blamesTheRequest(error) || errors.contains(where: { $0.code != error.code }) {
                error.message = "\(errors.count) of \(reports.count) shards did not answer: \(error.message)"
            }
            throw error
        }
        if isTruncated, !allowPartial {
            throw NeedletailError(
                .deadlineExceeded, "the deadline cut the search short; allow more time, lower ef, or set allow_partial")
        }
    }

    private static func blamesTheRequest(_ error: NeedletailError) -> Bool {
        switch error.code {
        case .invalidArgument, .outOfRange, .alreadyExists: true
        default: false
        }
    }
}
