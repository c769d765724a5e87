public import ArgumentParser
import NeedletailCore
import NeedletailTelemetry

extension AsyncParsableCommand {
    /// As a program. The library's own `main` would print an error's code and cause; here the message alone says what to do.
    public static func runAsProgram() async {
        do {
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
}
