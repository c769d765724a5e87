import ArgumentParser
import NeedletailCore
import NeedletailLoad
import NeedletailTelemetry

@main
struct LoadCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "needletail-load",
        abstract: "Loads a cluster by a scenario, and reports what its clients saw.",
        version: NeedletailVersion.current,
        subcommands: [RunCommand.self])

    static func main() async {
        do {
            var command = try parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
            try StandardStreams.finish()
        } catch let error as NeedletailError {
            Failure.exit("needletail-load", error)
        } catch {
            exit(withError: error)
        }
    }
}
