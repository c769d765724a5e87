public import NeedletailCore

/// A scenario, ready to be run.
public struct LoadRun: Sendable {
    public let scenario: Scenario
    private let conductor: Conductor

    /// - Throws: `invalidArgument` for a scenario that cannot be run.
    public init(_ scenario: Scenario, text: String, progress: @escaping @Sendable (Conductor.Progress) -> Void)
        throws(NeedletailError)
    {
        self.scenario = scenario
        conductor = Conductor(scenario, text: text, agents: [LocalAgent()], progress: progress)
    }

    /// See `Conductor.run`.
    public func run() async throws -> LoadResult { try await conductor.run() }

    /// Ends the run soon; `run` then returns what was measured.
    public func stop(because reason: String) async { await conductor.stop(because: reason) }
}
