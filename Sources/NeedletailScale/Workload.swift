public import NeedletailCore

/// What a cluster is to carry, and what machines it may be made of.
public struct Workload: Sendable, Equatable {
    public var points: Double
    public var vectorsPerPoint = 1.0
    public var payloadBytes = 0.0
    public var replicas = 1
    /// Of all clients together, a second.
    public var searches = 0.0
    public var writes = 0.0
    /// Within how many milliseconds `percentile` % of searches are to be answered, as the client sees it on its side of the network.
    public var milliseconds = 50.0
    public var percentile = 99.0
    /// There and back.
    public var roundTripMilliseconds = 0.5

    public var cores = 16
    public var memoryBytes = 64e9
    public var diskBytes = 1e12
    public var networkBitsPerSecond = 10e9

    /// Shares of a node that are planned with; the rest is for the loss of another node, for moves, checkpoints and graph repairs.
    public var memoryShare = 0.7
    public var diskShare = 0.5
    public var coreShare = 0.5

    public init(points: Double) { self.points = points }

    /// - Throws: `invalidArgument`, naming what is wrong.
    public func validate() throws(NeedletailError) {
        func check(_ isRight: Bool, _ what: String) throws(NeedletailError) {
            if !isRight { throw NeedletailError(.invalidArgument, what) }
        }
        try check((1...1e13).contains(points), "points must be 1 to 10^13")
        try check((1...100_000).contains(vectorsPerPoint), "vectors per point must be 1 to 100,000")
        try check((0...1_048_576).contains(payloadBytes), "payload bytes must be 0 to 1048576")
        try check((1...16).contains(replicas), "replicas must be 1 to 16")
        try check((0...1e9).contains(searches) && (0...1e9).contains(writes), "rates must be 0 to 10^9 a second")
        try check((0.1...1e6).contains(milliseconds), "the latency objective must be 0.1 to 10^6 ms")
        try check((1..<100).contains(percentile), "the objective's percentile must be 1 to below 100")
        try check((0...10_000).contains(roundTripMilliseconds), "the round trip must be 0 to 10,000 ms")
        try check((1...1024).contains(cores), "cores of a node must be 1 to 1024")
        try check(memoryBytes >= 1e8 && diskBytes >= 1e8, "a node has at least 100 MB of memory and of disk")
        try check(networkBitsPerSecond >= 1e6, "a node's network has at least 1 Mbit/s")
        try check((0.05...1).contains(coreShare), "the share of cores must be 0.05 to 1")
    }

    var vectors: Double { points * vectorsPerPoint }
}
