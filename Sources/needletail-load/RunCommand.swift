import ArgumentParser
import Foundation
import NeedletailCore
import NeedletailFlags
import NeedletailLoad
import NeedletailTelemetry
import UnixSignals

struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Runs a scenario and leaves a result and a report.",
        discussion: """
            Writes PREFIX.json, which `compare` and `report` read, and PREFIX.html, which a browser shows. Ctrl-C ends the run and keeps what was measured.

              needletail-load run Deploy/load/steady-search.yaml
              needletail-load run Deploy/load/steady-search.yaml --set phases[0].rate=2000 --out faster

            Exit codes: 0 done, 1 failed or ended early, 64 wrong usage.
            """)

    @Argument(help: "The scenario, a YAML file; Docs/load.md has its keys.") var scenario: String
    @Option(
        help: ArgumentHelp(
            "Where the result and the report go; the scenario's file name, in this folder, when left out.", valueName: "prefix"))
    var out: String?
    @Option(
        name: .customLong("set"),
        help: ArgumentHelp("Replaces a value of the scenario, as phases[0].rate=500; repeat for more.", valueName: "path=value"))
    var overrides: [String] = []
    @Option(
        help: ArgumentHelp(
            "Load processes that send the requests, with commas between them, those with TLS as https://host:port; this one alone when left out.",
            valueName: "host:port,…"))
    var agents: String?
    @OptionGroup(title: "Access and encryption") var security: ClientSecurityFlags
    @Flag(help: "Say nothing but the sentences of the result.") var quiet = false

    func run() async throws {
        let read = try Scenario.read(file: scenario, overrides: overrides)
        guard let text = try? String(contentsOfFile: scenario, encoding: .utf8) else { return }
        let prefix = out ?? URL(fileURLWithPath: scenario).deletingPathExtension().lastPathComponent
        try checkWritable(prefix)
        let view = LiveView(isTerminal: isatty(STDERR_FILENO) == 1) { StandardStreams.say($0) }
        let isQuiet = quiet
        let agents = agents?.split(separator: ",").map(String.init) ?? []
        let load = try LoadRun(read, text: text, agents: agents, security: security.security) { if !isQuiet { view.show($0) } }
        let result = try await stoppable(load)
        try result.json.write(to: URL(fileURLWithPath: prefix + ".json"))
        try HTMLReport(result).text.write(toFile: prefix + ".html", atomically: true, encoding: .utf8)
        for sentence in Verdict.sentences(result) + Verdict.warnings(result) { print(sentence) }
        print("The report is in \(prefix).html, the result in \(prefix).json.")
        try StandardStreams.finish()
        if let interruption = result.interruption {
            throw NeedletailError(.cancelled, "ended early: \(interruption); the report is of the time until then")
        }
    }

    /// Before hours are spent on what cannot be kept.
    private func checkWritable(_ prefix: String) throws {
        let file = URL(fileURLWithPath: prefix + ".json")
        do {
            try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        } catch {
            throw NeedletailError(
                .invalidArgument, "--out \(prefix): \(file.deletingLastPathComponent().path) cannot be made or written to")
        }
        guard FileManager.default.isWritableFile(atPath: file.deletingLastPathComponent().path) else {
            throw NeedletailError(
                .invalidArgument, "--out \(prefix): \(file.deletingLastPathComponent().path) cannot be written to")
        }
    }

    /// The first signal ends the run in order; the second one at once.
    private func stoppable(_ load: LoadRun) async throws -> LoadResult {
        let signals = await UnixSignalsSequence(trapping: .sigint, .sigterm)
        return try await withThrowingTaskGroup(of: LoadResult?.self) { group in
            group.addTask {
                var first: ContinuousClock.Instant?
                for await signal in signals {
                    if let first {
                        // Programs such as timeout send a signal to the process and to its group: that is one.
                        guard first.duration(to: .now) > .seconds(1) else { continue }
                        Failure.exit("needletail-load", NeedletailError(.cancelled, "stopped by \(signal) again; nothing was kept"))
                    }
                    first = .now
                    StandardStreams.say("\nstopping …\n")
                    await load.stop(because: "stopped by \(signal)")
                }
                return nil
            }
            group.addTask { try await load.run() }
            while let result = try await group.next() {
                guard let result else { continue }
                group.cancelAll()
                return result
            }
            throw NeedletailError(.internal, "the run ended without a result; report this")
        }
    }
}
