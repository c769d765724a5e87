public import ArgumentParser
import Foundation
public import Logging
import NeedletailCore
import NeedletailTelemetry
import UnixSignals

/// What every command of a server has beside its own flags.
public struct ConfigurationFlags: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Take what is not on the command line, nor in the environment, from this YAML file; its keys are the names of these flags.", valueName: "file"))
    public var config: String?
    @Flag(help: "Show the configuration, and where each value is from, and stop.") public var printConfig = false

    public init() {}
}

/// A server whose flags may be in the environment and in a file as well (Docs/configuration.md).
public struct ConfiguredProgram<Root: ParsableCommand, Settings: ParsableCommand>: Sendable {
    let name: String
    let prefix: String
    /// Settings that are read again while the program runs.
    let live: Set<String>

    /// - Parameters:
    ///   - name: of the program; its variables begin with it.
    ///   - live: settings that `follow` brings into effect.
    public init(_ name: String, root: Root.Type, settings: Settings.Type, live: Set<String>) {
        self.name = name
        self.live = live
        prefix = name.uppercased().replacingOccurrences(of: "-", with: "_") + "_"
    }

    /// The libraries' own `main` would print an error's code and cause, and knows of the command line only.
    public func main() async {
        var configuration: Configuration?
        do {
            let given = Array(CommandLine.arguments.dropFirst())
            var arguments = given
            if !isAboutSomethingElse(given) {
                let read = try read()
                (configuration, arguments) = (read, read.arguments)
                if read.isToBeShown {
                    _ = try Root.parseAsRoot(arguments)
                    return print(read.shown(live: live))
                }
            }
            var command = try Root.parseAsRoot(arguments)
            if var asynchronous = command as? any AsyncParsableCommand { try await asynchronous.run() } else { try command.run() }
        } catch let error as NeedletailError {
            Failure.exit(name, configuration?.explained(error) ?? error)
        } catch {
            if let explanation = configuration?.explanation(of: Root.message(for: error)) { StandardStreams.say("\(explanation)\n") }
            Root.exit(withError: error)
        }
    }

    private func read() throws(NeedletailError) -> Configuration {
        try Configuration(
            of: Settings.self, arguments: Array(CommandLine.arguments.dropFirst()), environment: ProcessInfo.processInfo.environment, prefix: prefix)
    }

    /// Help and versions, and other things that the program can do.
    private func isAboutSomethingElse(_ arguments: [String]) -> Bool {
        let others = Root.configuration.subcommands.filter { $0 != Settings.self }.compactMap { $0._commandName }
        let words: Set = ["--help", "-h", "-help", "--version", "--experimental-dump-help", "--generate-completion-script"]
        return arguments.contains { words.contains($0) } || arguments.first.map { $0 == "help" || others.contains($0) } ?? false
    }

    /// Until cancelled: reads the configuration again when the process gets SIGHUP, and has what may change then brought into effect.
    ///
    /// - Parameter apply: gets the settings as they are now.
    public func follow(_ logger: Logger, apply: @Sendable (Settings) throws -> Void) async {
        guard var current = try? read() else { return }
        let signals = await UnixSignalsSequence(trapping: .sighup)
        // Nothing but the sequence keeps the handler installed, and the loop needs only what comes out of it.
        defer { withExtendedLifetime(signals) {} }
        for await _ in signals {
            do {
                let next = try read()
                try apply(try Settings.parse(next.arguments))
                let changed = next.changes(from: current)
                let effective = changed.filter(live.contains)
                logger.notice("the configuration was read again", metadata: ["changed": "\(effective.joined(separator: ", "))"])
                let rest = changed.filter { !live.contains($0) }
                if !rest.isEmpty {
                    logger.warning("settings were changed that take effect with the next start only", metadata: ["settings": "\(rest.joined(separator: ", "))"])
                }
                current = next
            } catch {
                let words = (error as? NeedletailError)?.message ?? Settings.message(for: error)
                logger.error("the configuration stays as it was: \(words)")
            }
        }
    }
}

extension Configuration {
    func explained(_ error: NeedletailError) -> NeedletailError {
        var error = error
        if let explanation = explanation(of: error.message) { error.message += "; \(explanation)" }
        return error
    }
}
