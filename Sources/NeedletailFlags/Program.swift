public import ArgumentParser
import NeedletailCore
import NeedletailTelemetry

extension AsyncParsableCommand {
    /// As a program. The library's own `main` would print an error's code and cause; here the message alone says what to do.
    public static func runAsProgram() async {
        do {
            try checkName(Array(CommandLine.arguments.dropFirst()))
            var command = try parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
            try StandardStreams.finish()
        } catch let error as NeedletailError {
            Failure.exit(configuration.commandName ?? "needletail", error)
        } catch {
            exit(withError: error)
        }
    }

    /// The library calls a command that it does not know an unexpected argument, and all that follows, too.
    private static func checkName(_ arguments: [String]) throws {
        let known = configuration.subcommands.compactMap { $0.configuration.commandName } + ["help"]
        guard let name = arguments.first, !name.hasPrefix("-"), !known.contains(name) else { return }
        throw ValidationError("there is no command \(name)" + (NearestName.of(name, among: known).map { "; did you mean \($0)?" } ?? ""))
    }
}
