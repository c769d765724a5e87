/// What became of the requests of one kind that were meant to start in one second.
public struct Tally: Sendable, Codable, Equatable {
    /// Requests that were meant to start in this second and have ended.
    public var ended = 0
    /// Of those, answered without an error.
    public var answered = 0
    /// Of those, failed, by the code of the error.
    public var failed: [String: Int] = [:]
    /// Answers that came in this second, whenever their requests were meant to start.
    public var completed = 0
    /// Answers in which shards were missing, or that a deadline had cut short.
    public var uncovered = 0
    /// Answers of a state older than a write that this load process had been told of when it sent the request.
    public var stale = 0
    /// Answers with a point that was acknowledged as deleted when the request was sent.
    public var deletedFound = 0
    /// Of answers that could be judged by the exact ones: right points, and how many there could have been.
    public var right = 0
    public var wanted = 0
    /// Points written or deleted, as acknowledged.
    public var points = 0
    /// Queries answered.
    public var queries = 0
    /// Microseconds of answered requests from the moment they were meant to start.
    public var latency = LatencyHistogram()
    /// The same from the moment they were sent.
    public var service = LatencyHistogram()
    /// When the first and the last request that failed were meant to start, in seconds from the start of the segment.
    public var firstFailure: Double?
    public var lastFailure: Double?

    public init() {}

    public var failures: Int { failed.values.reduce(0, +) }

    public static func += (left: inout Tally, right: Tally) {
        left.ended += right.ended
        left.answered += right.answered
        left.failed.merge(right.failed, uniquingKeysWith: +)
        left.completed += right.completed
        left.uncovered += right.uncovered
        left.stale += right.stale
        left.deletedFound += right.deletedFound
        left.right += right.right
        left.wanted += right.wanted
        left.points += right.points
        left.queries += right.queries
        left.latency += right.latency
        left.service += right.service
        left.firstFailure = [left.firstFailure, right.firstFailure].compactMap(\.self).min()
        left.lastFailure = [left.lastFailure, right.lastFailure].compactMap(\.self).max()
    }
}

/// One second of a segment. Slices of several load processes, and parts of one slice, are joined by adding.
public struct Slice: Sendable, Codable, Equatable {
    /// From the start of the segment, from 0.
    public var second: Int
    /// By kind of request.
    public var tallies: [String: Tally] = [:]
    /// Requests that had to wait because as many were under way as may be.
    public var held = 0
    /// What the first error of each code said.
    public var messages: [String: String] = [:]
    /// Microseconds from the moment a request was meant to be sent to the moment it was.
    public var lag = LatencyHistogram()

    public init(second: Int) { self.second = second }

    public static func += (left: inout Slice, right: Slice) {
        left.tallies.merge(right.tallies) { old, new in
            var sum = old
            sum += new
            return sum
        }
        left.held += right.held
        left.messages.merge(right.messages) { old, _ in old }
        left.lag += right.lag
    }

    /// Adds slices to those there are, by their seconds.
    public static func join(_ slices: inout [Slice], _ more: [Slice]) {
        for slice in more {
            while slices.count <= slice.second { slices.append(Slice(second: slices.count)) }
            slices[slice.second] += slice
        }
    }

    /// All kinds together.
    public var all: Tally { tallies.values.reduce(into: Tally()) { $0 += $1 } }
}

extension [Slice] {
    /// One kind, or all of them together, over all seconds.
    public func total(_ kind: String? = nil) -> Tally {
        reduce(into: Tally()) { sum, slice in
            for (name, tally) in slice.tallies where kind == nil || name == kind { sum += tally }
        }
    }

    /// The kinds there are, sorted: searches first.
    public var kinds: [String] {
        let order = OperationKind.allCases.map(\.rawValue)
        func place(_ name: String) -> Int { order.firstIndex { name.hasPrefix($0) } ?? order.count }
        return Set(flatMap(\.tallies.keys)).sorted { (place($0), $0) < (place($1), $1) }
    }
}
