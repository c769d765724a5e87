import ArgumentParser
import NeedletailCore

@main
struct NeedletailCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "needletail",
        abstract: "Needletail: a distributed search cluster for embeddings.",
        version: Needletail.version,
        subcommands: [DevCommand.self, DemoCommand.self])
}
