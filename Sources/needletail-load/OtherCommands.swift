import ArgumentParser
import Foundation
import NeedletailCore
import NeedletailFlags
import NeedletailLoad
import NeedletailTelemetry
import UnixSignals

struct AgentCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "agent", abstract: "A load process that waits for a conductor's orders.",
        discussion: """
            Start one on each host that is to send load, then name them all where the scenario is run; their measurements are joined into one result.

              host-a$ needletail-load agent --insecure --listen 10.0.0.11:7480
              host-b$ needletail-load agent --insecure --listen 10.0.0.12:7480
              $ needletail-load run steady.yaml --agents 10.0.0.11:7480,10.0.0.12:7480

            Each opens the scenario's files of vectors on its own host, under the same paths. Whoever reaches the port can have it send load to any address: \
            listen with TLS, which takes orders only from conductors with a certificate of --listen-authority, or on a network of your own, and say so with \
            --insecure. The other TLS flags are for the way to the cluster.

              host-a$ needletail-load agent --listen 10.0.0.11:7480 --listen-certificate load-a.pem --listen-key load-a.key \\
                  --listen-authority client-authority.pem
              $ needletail-load run steady.yaml --agents https://10.0.0.11:7480 --tls-authority authority.pem --tls-certificate me.pem --tls-key me.key
            """)

    @Option(help: "Address to listen on; port 0 takes any free one.") var listen = "127.0.0.1:7480"
    @Option(help: ArgumentHelp("Listen with TLS, and show this certificate, in PEM.", valueName: "file")) var listenCertificate: String?
    @Option(help: ArgumentHelp("The private key of that certificate.", valueName: "file")) var listenKey: String?
    @Option(help: ArgumentHelp("The authority of conductors' certificates: who shows none of theirs is not served.", valueName: "file"))
    var listenAuthority: String?
    @Flag(help: "Listen on other addresses than loopback without TLS: who reaches the port can have load sent to any address.") var insecure = false
    @Option(help: "File to write the port to once it listens.") var portFile: String?
    @OptionGroup(title: "Access and encryption") var security: ClientSecurityFlags

    func run() async throws {
        let door = AgentDoor(address: listen, isInsecure: insecure, certificate: listenCertificate, key: listenKey, authority: listenAuthority)
        let server = try AgentServer(door, security: security.security) { StandardStreams.say("\($0)\n") }
        let signals = await UnixSignalsSequence(trapping: .sigint, .sigterm)
        let port = try await server.start()
        if let portFile { try "\(port)\n".write(toFile: portFile, atomically: true, encoding: .utf8) }
        StandardStreams.say("waiting for a conductor on port \(port)\n")
        for await _ in signals { break }
        await server.close()
    }
}

struct ReportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report", abstract: "Makes the report of a result anew.", discussion: "needletail-load report steady-search.json --out page.html")

    @Argument(help: "The result, a JSON file that `run` wrote.") var result: String
    @Option(help: "The report; the result's name ending in .html when left out.") var out: String?

    func run() throws {
        let report = HTMLReport(try LoadResult.read(file: result))
        let file = out ?? URL(fileURLWithPath: result).deletingPathExtension().path + ".html"
        do {
            try report.text.write(toFile: file, atomically: true, encoding: .utf8)
        } catch {
            throw NeedletailError(.invalidArgument, "--out \(file) cannot be written: \(error.localizedDescription)")
        }
        print("The report is in \(file).")
    }
}

struct CompareCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compare", abstract: "Compares two results, phase by phase.",
        discussion: """
            Phases are matched by name. "better" and "worse" stand only where the 95 % interval of the change excludes that there is \
            none; intervals come from a bootstrap over the seconds of each phase. They cover what varies within a run, not what differs \
            between machines or hours: repeat and take turns.
            """)

    @Argument(help: "The first result, A.") var first: String
    @Argument(help: "The second result, B.") var second: String

    func run() throws {
        let comparison = Comparison(try LoadResult.read(file: first), try LoadResult.read(file: second))
        guard !comparison.rows.isEmpty else {
            throw NeedletailError(.failedPrecondition, "the results have nothing in common: no phase of one has the name of a phase of the other")
        }
        print("A: \(first)\nB: \(second)\n\n\(comparison.text)")
    }
}

struct KeysCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "keys", abstract: "Lists the keys of scenario files, as a table in Markdown.")

    func run() throws { print(ScenarioKey.table, terminator: "") }
}
