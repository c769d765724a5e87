internal import NeedletailCore

/// What a processor of a certain kind needs for the work of a cluster, as `needletail-bench calibrate` measured it there. Times are
/// microseconds of one core.
public struct MachineProfile: Codable, Sendable, Equatable {
    /// Of the file; another one is refused.
    public static let format = 4

    public var format = MachineProfile.format
    /// The processor, in words.
    public var machine: String
    /// What was measured: dimensions and index spec of the vectors, and how searches asked.
    public var dimensions: Int
    public var spec: String
    public var limit: Int
    public var ef: Int
    /// Of the walks below, at the largest size.
    public var recall: Double
    public var walk: Walk
    public var insert: GrowingCost
    public var rpc: RPCCost
    /// Milliseconds that a synced append takes, by quantile.
    public var sync: Quantiles
    /// Of a replica, for each vector without its payload.
    public var memoryBytes: Double
    public var diskBytes: Double

    public init(
        machine: String, dimensions: Int, spec: String, limit: Int, ef: Int, recall: Double, walk: Walk, insert: GrowingCost, rpc: RPCCost,
        sync: Quantiles, memoryBytes: Double, diskBytes: Double
    ) {
        (self.machine, self.dimensions, self.spec, self.limit, self.ef) = (machine, dimensions, spec, limit, ef)
        (self.recall, self.walk, self.insert, self.rpc, self.sync) = (recall, walk, insert, rpc, sync)
        (self.memoryBytes, self.diskBytes) = (memoryBytes, diskBytes)
    }

    /// - Throws: `invalidArgument` for a file of another format, before anything else of it is looked at.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        let format = try values.decode(Int.self, forKey: .format)
        guard format == Self.format else { throw Self.otherFormat(format) }
        self.init(
            machine: try values.decode(String.self, forKey: .machine), dimensions: try values.decode(Int.self, forKey: .dimensions),
            spec: try values.decode(String.self, forKey: .spec), limit: try values.decode(Int.self, forKey: .limit),
            ef: try values.decode(Int.self, forKey: .ef), recall: try values.decode(Double.self, forKey: .recall),
            walk: try values.decode(Walk.self, forKey: .walk), insert: try values.decode(GrowingCost.self, forKey: .insert),
            rpc: try values.decode(RPCCost.self, forKey: .rpc), sync: try values.decode(Quantiles.self, forKey: .sync),
            memoryBytes: try values.decode(Double.self, forKey: .memoryBytes), diskBytes: try values.decode(Double.self, forKey: .diskBytes))
    }

    static func otherFormat(_ format: Int) -> NeedletailError {
        NeedletailError(.invalidArgument, "the profile has format \(format), and this program reads \(Self.format); calibrate again")
    }

    /// Searching one shard.
    public struct Walk: Codable, Sendable, Equatable {
        public var cost: GrowingCost
        /// Of single walks, with the mean as one.
        public var spread: Quantiles

        public init(cost: GrowingCost, spread: Quantiles) {
            self.cost = cost
            self.spread = spread
        }
    }

    /// What requests cost beside the walks and the turns of event loops.
    public struct RPCCost: Codable, Sendable, Equatable {
        /// A search in a coordinator, what each node that it asks adds, and what the call does in which it travels, maybe with others.
        public var coordinator: Double
        public var coordinatorNode: Double
        public var coordinatorCall: Double
        /// A search in a worker, what each shard in it adds beside its walk, and the call.
        public var worker: Double
        public var workerShard: Double
        public var workerCall: Double
        /// A search in the load generator.
        public var client: Double
        /// A turn of an event loop, whatever it does in it: messages that wait together share one.
        public var turn: Double
        /// Of a turn, what comes after its messages have left; no more than the turn.
        public var rest: Double
        /// What a core that was idle when its work came has to do before it, and what it does slower then; and how much more after long idleness, when it
        /// sleeps deeply and its caches are others'.
        public var wake: Double
        public var deepWake: Double
        /// Until it begins with that, on average, while nobody is charged for the time. It varies, as the times between random events do.
        public var stir: Double

        public init(
            coordinator: Double = 0, coordinatorNode: Double = 0, coordinatorCall: Double = 0, worker: Double = 0, workerShard: Double = 0,
            workerCall: Double = 0, client: Double = 0, turn: Double = 0, rest: Double = 0, wake: Double = 0, deepWake: Double = 0, stir: Double = 0
        ) {
            (self.coordinator, self.coordinatorNode, self.coordinatorCall) = (coordinator, coordinatorNode, coordinatorCall)
            (self.worker, self.workerShard, self.workerCall) = (worker, workerShard, workerCall)
            (self.client, self.turn, self.rest, self.wake, self.deepWake, self.stir) = (client, turn, rest, wake, deepWake, stir)
        }
    }
}

/// A cost that grows with the logarithm of a shard's size, as walks do in a graph with levels (Malkov and Yashunin, "Efficient and robust
/// approximate nearest neighbor search using HNSW graphs", 2018, section 4.2.1).
public struct GrowingCost: Codable, Sendable, Equatable {
    /// Microseconds: `base + slope · ln(size)`, at least `least`.
    public var base: Double
    public var slope: Double
    public var least: Double
    /// Sizes that were measured, from and to; beyond them it is a guess.
    public var from: Double
    public var to: Double

    public init(base: Double, slope: Double, least: Double, from: Double, to: Double) {
        (self.base, self.slope, self.least, self.from, self.to) = (base, slope, least, from, to)
    }

    /// Least squares over measurements. A cost that fell with size was noise: then the slope is zero.
    public init(fitting measurements: [(size: Double, microseconds: Double)]) {
        precondition(!measurements.isEmpty && measurements.allSatisfy { $0.size >= 1 })
        let points = measurements.map { (x: Transcendental.log($0.size), y: $0.microseconds) }
        let count = Double(points.count)
        let (meanX, meanY) = (points.reduce(0) { $0 + $1.x } / count, points.reduce(0) { $0 + $1.y } / count)
        let spread = points.reduce(0) { $0 + ($1.x - meanX) * ($1.x - meanX) }
        let common = points.reduce(0) { $0 + ($1.x - meanX) * ($1.y - meanY) }
        slope = spread > 0 ? max(0, common / spread) : 0
        base = meanY - slope * meanX
        least = measurements.map(\.microseconds).min()! / 4
        from = measurements.map(\.size).min()!
        to = measurements.map(\.size).max()!
    }

    /// The same up to a size; what larger ones cost beyond that, so many times.
    public func growing(_ factor: Double, timesFrom size: Double) -> GrowingCost {
        var steeper = self
        steeper.base += slope * Transcendental.log(max(1, size)) * (1 - factor)
        steeper.slope *= factor
        return steeper
    }

    public func microseconds(size: Double) -> Double { max(least, base + slope * Transcendental.log(max(1, size))) }
}

/// A distribution as its values at evenly spaced shares, from the least to the largest; between them linear.
public struct Quantiles: Codable, Sendable, Equatable {
    /// Ascending, at least two.
    public private(set) var values: [Double]

    /// - Parameter samples: not empty; `count` of their quantiles are kept.
    public init(of samples: [Double], count: Int = 201) {
        precondition(!samples.isEmpty && count > 1)
        let sorted = samples.sorted()
        values = (0..<count).map { index in
            let position = Double(index) / Double(count - 1) * Double(sorted.count - 1)
            let low = Int(position)
            let rest = position - Double(low)
            return sorted[low] + (sorted[min(low + 1, sorted.count - 1)] - sorted[low]) * rest
        }
    }

    /// A distribution that is always the same.
    public init(constant value: Double) { values = [value, value] }

    public var mean: Double {
        let inner = values.dropFirst().dropLast().reduce(0, +)
        return (inner + (values[0] + values[values.count - 1]) / 2) / Double(values.count - 1)
    }

    /// Of the square, for queueing formulas.
    public var squareMean: Double { values.reduce(0) { $0 + $1 * $1 } / Double(values.count) }

    /// - Parameter share: 0 to 1.
    public func value(at share: Double) -> Double {
        let position = min(max(share, 0), 1) * Double(values.count - 1)
        let low = min(Int(position), values.count - 2)
        let rest = position - Double(low)
        return values[low] * (1 - rest) + values[low + 1] * rest
    }

    /// With the mean as one.
    public var relative: Quantiles {
        var scaled = self
        let mean = mean
        if mean > 0 { scaled.values = values.map { $0 / mean } }
        return scaled
    }

    /// Whether a file holds what `init` makes.
    var isSound: Bool { values.count > 1 && values == values.sorted() && values.allSatisfy { $0.isFinite && $0 >= 0 } }
}
