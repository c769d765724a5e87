import ArgumentParser
import NeedletailClient
import NeedletailFlags

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

    static func main() async { await runAsProgram() }
}
