/// What a replica holds, in short.
public struct ReplicaDigest: Sendable, Equatable {
    /// Sums over the points of equal parts of the shard's range: those of two replicas with the same content are the same.
    public var sums: [UInt64]
    /// Recall@10 of its graphs on points that it holds itself; 1 when it was not asked for.
    public var recall: Double

    public init(sums: [UInt64], recall: Double) {
        self.sums = sums
        self.recall = recall
    }

    /// How much recall a replica may have less than its source.
    public static let recallTolerance = 0.01

    /// Whether a replica with this digest may take part where `source` is right.
    public func agrees(with source: ReplicaDigest) -> Bool { sums == source.sums && recall >= source.recall - Self.recallTolerance }
}
