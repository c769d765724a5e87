import NeedletailCore

/// One load process, here or elsewhere, as the conductor sees it.
protocol LoadAgent: Sendable {
    /// Reads or makes the vectors, computes what is true of them, connects.
    func prepare(_ order: PrepareOrder) async throws -> Prepared
    /// Sends the requests of a segment. `receive` gets what came in, about once a second: parts, to be added up.
    func run(_ order: SegmentOrder, receive: @escaping @Sendable ([Slice]) async -> Void) async throws
    /// Ends the segment under way soon; what was measured still comes.
    func stop() async
    func close() async
}

struct PrepareOrder: Sendable, Codable {
    var scenario: Scenario
    /// Coordinators, host:port.
    var endpoints: [String]
    /// 0 ..< `processes`.
    var process: Int
    var processes: Int
}

/// What an agent got ready.
struct Prepared: Sendable, Codable, Equatable {
    var set: String
    var dimensions: Int
    var points: Int
    var spare: Int
    var queries: Int
    var version: String
}

/// A stretch of time with one rate, or the bulk load.
struct SegmentOrder: Sendable, Codable, Equatable {
    enum Work: String, Sendable, Codable {
        case requests, bulk
    }

    var work: Work
    /// Index in the scenario; of a bulk load before all phases the first.
    var phase: Int
    /// Of all processes together.
    var rate: Double
    var seconds: Double
    var seed: UInt64
}
