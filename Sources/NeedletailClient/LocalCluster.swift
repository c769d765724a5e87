public import Foundation
internal import NeedletailCore

/// A coordinator and some shard workers as processes of their own on loopback, in a temporary folder of their own: for demonstrations,
/// benchmarks, load and tests. One task uses it. However this process ends, the others end with it: they read an input that ends then.
///
/// Its members have names: `coordinator`, `shard-1`, `shard-2`, …
public final class LocalCluster {
    private struct Member {
        let executable: String
        let arguments: [String]
        var port: Int
        var process: Process
    }

    public let directory: URL
    /// host:port of the coordinator, once started.
    public private(set) var endpoint = ""
    /// Names of the members in the order in which they were first started.
    public private(set) var names: [String] = []
    private var members: [String: Member] = [:]
    private var workerArguments: [String] = []
    private let lifeline = Pipe()
    private let binaries: URL

    /// The executables are looked for beside the running program.
    public init() throws {
        directory = FileManager.default.temporaryDirectory.appendingPathComponent("needletail-demo-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        binaries = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
    }

    /// Starts one coordinator and `shardWorkers` workers and waits until they listen.
    public func start(shardWorkers: Int, coordinatorArguments: [String] = [], workerArguments: [String] = []) throws {
        self.workerArguments = workerArguments
        let port = try launch("needletail-coordinator", name: "coordinator", arguments: ["--admin", "0"] + coordinatorArguments)
        endpoint = "127.0.0.1:\(port)"
        for _ in 1...shardWorkers { try addWorker() }
    }

    /// Starts one more worker and waits until it listens.
    @discardableResult
    public func addWorker() throws -> String {
        let name = "shard-\(names.count { $0.hasPrefix("shard-") } + 1)"
        _ = try launch("needletail-shard", name: name, arguments: ["--coordinator", endpoint] + workerArguments)
        return name
    }

    /// host:port; nil when there is no such member.
    public func address(of name: String) -> String? { members[name].map { "127.0.0.1:\($0.port)" } }

    /// nil when there is no such member.
    public func processID(of name: String) -> Int32? { members[name]?.process.processIdentifier }

    public func isRunning(_ name: String) -> Bool { members[name]?.process.isRunning ?? false }

    /// Sends a signal to a member that runs.
    public func signal(_ name: String, _ signal: Int32) {
        guard let process = members[name]?.process, process.isRunning else { return }
        kill(process.processIdentifier, signal)
    }

    /// Starts a member that has ended again, on its data and its port, and waits until it listens.
    public func startAgain(_ name: String) throws {
        guard let member = members[name] else { throw NeedletailError(.notFound, "there is no \(name) to start") }
        guard !member.process.isRunning else {
            throw NeedletailError(.failedPrecondition, "\(name) runs already; kill it first, or restart it")
        }
        _ = try launch(member.executable, name: name, arguments: member.arguments, port: member.port)
    }

    /// - Parameter port: 0 takes any free one.
    private func launch(_ executable: String, name: String, arguments: [String], port: Int = 0) throws -> Int {
        let portFile = directory.appendingPathComponent("\(name).port")
        let log = directory.appendingPathComponent("\(name).log")
        try? FileManager.default.removeItem(at: portFile)
        if !FileManager.default.fileExists(atPath: log.path) { try Data().write(to: log) }
        let output = try FileHandle(forWritingTo: log)
        try output.seekToEnd()
        let process = Process()
        process.executableURL = binaries.appendingPathComponent(executable)
        process.arguments =
            [
                "--data", directory.appendingPathComponent(name).path, "--listen", "127.0.0.1:\(port)", "--port-file",
                portFile.path, "--end-with-input",
            ] + arguments
        process.standardInput = lifeline.fileHandleForReading
        process.standardError = output
        guard FileManager.default.isExecutableFile(atPath: process.executableURL?.path ?? "") else {
            throw NeedletailError(.failedPrecondition, "\(executable) is not beside this program; run `make build` first")
        }
        try process.run()
        if members[name] == nil { names.append(name) }
        members[name] = Member(executable: executable, arguments: arguments, port: port, process: process)
        let deadline = Deadline.after(.seconds(20))
        while true {
            if let text = try? String(contentsOf: portFile, encoding: .utf8),
                let port = text.split(whereSeparator: \.isWhitespace).first.flatMap({ Int($0) })
            {
                members[name]?.port = port
                return port
            }
            guard process.isRunning, !deadline.isPast else {
                let output = (try? String(contentsOf: log, encoding: .utf8)) ?? ""
                throw NeedletailError(.unavailable, "\(executable) did not start:\n\(output)")
            }
            try Task.checkCancellation()
            usleep(5_000)
        }
    }

    /// Asks the processes to stop, workers first, waits for them, and removes the folder.
    public func stop() {
        for name in names.reversed() {
            guard let process = members[name]?.process, process.isRunning else { continue }
            // One that was stopped does not hear of it otherwise.
            kill(process.processIdentifier, SIGCONT)
            process.terminate()
            process.waitUntilExit()
        }
        (names, members) = ([], [:])
        try? FileManager.default.removeItem(at: directory)
    }
}
