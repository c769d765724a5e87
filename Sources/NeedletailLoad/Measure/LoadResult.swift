/// Everything a load test measured: what is written as JSON, and what reports and comparisons are made of.
public struct LoadResult: Sendable, Codable {
    /// Of this form of JSON.
    public static let currentFormat = 1

    public var format = LoadResult.currentFormat
    public var scenario: Scenario
    /// The file, as it was read.
    public var scenarioText: String
    /// ISO 8601.
    public var startedAt: String
    public var machine: String
    public var version: String
    public var target: String
    /// Load processes.
    public var processes: Int
    /// What was loaded with, for people.
    public var set = ""
    public var phases: [PhaseResult] = []
    /// Why it ended early; nil when it did not.
    public var interruption: String?

    public init(
        scenario: Scenario, scenarioText: String, startedAt: String, machine: String, version: String, target: String,
        processes: Int
    ) {
        self.scenario = scenario
        self.scenarioText = scenarioText
        self.startedAt = startedAt
        self.machine = machine
        self.version = version
        self.target = target
        self.processes = processes
    }
}

public struct PhaseResult: Sendable, Codable {
    public var name: String
    /// Index in the scenario.
    public var phase: Int
    /// One, or one for each rate that was tried.
    public var segments: [SegmentResult] = []
    public var marks: [FaultMark] = []
    /// The highest rate that met the objective, when one was looked for.
    public var found: Double?

    public init(name: String, phase: Int) {
        self.name = name
        self.phase = phase
    }
}

public struct SegmentResult: Sendable, Codable {
    /// Requests a second that were to be sent; nil for closed loops and bulk loads.
    public var rate: Double?
    /// For which requests were sent.
    public var seconds: Double
    /// Seconds from the start of the first segment.
    public var offset: Double
    public var slices: [Slice] = []
    /// Of a search for a rate: whether the objective was met, and if not, why.
    public var isMet: Bool?
    public var miss = ""

    public init(rate: Double?, seconds: Double, offset: Double) {
        self.rate = rate
        self.seconds = seconds
        self.offset = offset
    }
}

/// A fault, when it happened.
public struct FaultMark: Sendable, Codable, Equatable {
    public var name: String
    /// Seconds from the start of the first segment.
    public var at: Double
    /// Seconds until it was done: of a pause until it went on, of a restart until it listened again.
    public var took: Double
    /// Why it could not be done.
    public var problem: String?

    public init(name: String, at: Double, took: Double = 0, problem: String? = nil) {
        self.name = name
        self.at = at
        self.took = took
        self.problem = problem
    }
}
