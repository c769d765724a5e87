public import NeedletailCore

/// Opens places for backups with what the environment of the process has.
public struct BackupPlaces: Sendable {
    private let environment: [String: String]

    public init(environment: [String: String] = [:]) { self.environment = environment }

    /// - Throws: `invalidArgument`, `failedPrecondition`.
    public func open(_ target: String) throws(NeedletailError) -> BackupSet { BackupSet(try BackupTarget(target).open(environment: environment)) }
}
