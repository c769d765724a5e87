public import NeedletailCore

/// A scenario, ready to be run.
public struct LoadRun: Sendable {
    public let scenario: Scenario
    private let conductor: Conductor

    /// - Parameter agents: addresses of load processes; none: this process is the only one.
    /// - Throws: `invalidArgument` for an address that is none.
    public init(
        _ scenario: Scenario, text: String, agents addresses: [String] = [], progress: @escaping @Sendable (Conductor.Progress) -> Void
    ) throws(NeedletailError) {
        self.scenario = scenario
        var agents: [any LoadAgent] = []
        for address in addresses { agents.append(try RemoteAgent(address)) }
        conductor = Conductor(scenario, text: text, agents: agents.isEmpty ? [LocalAgent()] : agents, progress: progress)
    }

    /// See `Conductor.run`.
    public func run() async throws -> LoadResult { try await conductor.run() }

    /// Ends the run soon; `run` then returns what was measured.
    public func stop(because reason: String) async { await conductor.stop(because: reason) }
}
