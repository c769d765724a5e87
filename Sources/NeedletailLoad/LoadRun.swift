public import NeedletailClient
public import NeedletailCore

/// A scenario, ready to be run.
public struct LoadRun: Sendable {
    public let scenario: Scenario
    private let conductor: Conductor

    /// - Parameters:
    ///   - agents: addresses of load processes, those with TLS as https://; none: this process is the only one.
    ///   - security: how to reach the cluster, and load processes with TLS.
    /// - Throws: `invalidArgument` for an address that is none, and for files that are no good.
    public init(
        _ scenario: Scenario, text: String, agents addresses: [String] = [], security: ClientSecurity = .init(),
        progress: @escaping @Sendable (Conductor.Progress) -> Void
    ) throws(NeedletailError) {
        self.scenario = scenario
        var agents: [any LoadAgent] = []
        for address in addresses { agents.append(try RemoteAgent(address, security: security)) }
        conductor = Conductor(scenario, text: text, agents: agents.isEmpty ? [LocalAgent(security: security)] : agents, security: security, progress: progress)
    }

    /// See `Conductor.run`.
    public func run() async throws -> LoadResult { try await conductor.run() }

    /// Ends the run soon; `run` then returns what was measured.
    public func stop(because reason: String) async { await conductor.stop(because: reason) }
}
