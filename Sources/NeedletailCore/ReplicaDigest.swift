/// What a replica holds, in short.
public struct ReplicaDigest: Sendable, Equatable {
    /// Sums over the points of equal parts of the shard's range: those of two replicas with the same content are the same.
    public var sums: [UInt64]
    /// Recall@10 of its graphs on points that it holds itself; 1 when it was not asked for.
    public var recall: Double
    /// A hash of what its graphs find for points that it holds itself; 0 when it was not asked for.
    public var answers: UInt64

    public init(sums: [UInt64], recall: Double = 1, answers: UInt64 = 0) {
        self.sums = sums
        self.recall = recall
        self.answers = answers
    }

    /// What is looked at beside the content.
    public enum Scope: Sendable, Equatable {
        case contents
        /// What is found of so many points.
        case answers(Int)
        /// The recall of that, which takes scans of all points.
        case recall(Int)
    }

    /// How much recall a replica may have less than its source.
    public static let recallTolerance = 0.01

    /// Whether a replica with this digest may take part where `source` is right.
    public func agrees(with source: ReplicaDigest) -> Bool { sums == source.sums && recall >= source.recall - Self.recallTolerance }

    /// Whether both find the same in the same content, and so with the same recall.
    public func answers(like source: ReplicaDigest) -> Bool { sums == source.sums && answers != 0 && answers == source.answers }
}
