import ArgumentParser
import NeedletailClient
import NeedletailCore
import NeedletailTelemetry

@main
struct Needletail: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "needletail",
        abstract: "A distributed vector search cluster, from the command line.",
        discussion: """
            First steps: `needletail demo` shows what it does; `needletail dev --data ./data` runs a cluster in one process. Then:

              needletail collection create books --field text:384:cosine --shards 2
              needletail import books books.jsonl
              needletail search books --id 1 --limit 5 --with-payload

            A line of books.jsonl: {"id": 1, "vectors": {"text": [0.1, ...]}, "payload": {"title": "..."}}

            Every command reads NEEDLETAIL_ENDPOINT (or --endpoint HOST:PORT) and prints JSON with --json.
            Exit codes: 0 done, 1 failed, 64 wrong usage.
            """,
        version: NeedletailVersion.current,
        subcommands: [
            DevCommand.self, DemoCommand.self,
            CollectionCommand.self, ImportCommand.self, ExportCommand.self, GetCommand.self, SearchCommand.self, StatusCommand.self, ClusterCommand.self,
            BackupCommand.self, AccessCommand.self, CertificatesCommand.self, TuneCommand.self, PlanCommand.self,
        ])

    /// The library's own `main` would print the code's name and the cause; here the message alone says what to do.
    static func main() async {
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
            Failure.exit("needletail", error)
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
