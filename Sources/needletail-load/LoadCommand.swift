import ArgumentParser
import NeedletailCore
import NeedletailFlags
import NeedletailLoad

@main
struct LoadCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "needletail-load",
        abstract: "Loads a cluster by a scenario, and reports what its clients saw.",
        discussion: """
            First steps, which need no cluster: `needletail-load run Deploy/load/steady-search.yaml` starts one on this machine, loads it, and leaves a report.

            Docs/load.md explains scenarios and reports. Exit codes: 0 done, 1 failed or ended early, 64 wrong usage.
            """,
        version: NeedletailVersion.current,
        subcommands: [RunCommand.self, AgentCommand.self, CompareCommand.self, ReportCommand.self, KeysCommand.self])

    static func main() async { await runAsProgram() }
}
