public import Foundation
internal import NeedletailCore

/// A coordinator and some shard workers as processes of their own on loopback, in a temporary folder of their own: for demonstrations,
/// benchmarks and tests. One task uses it. However this process ends, the others end with it: they read an input that ends then.
public final class LocalCluster {
    public let directory: URL
    /// host:port of the coordinator, once started.
    public private(set) var endpoint = ""
    private var processes: [Process] = []
    private let lifeline = Pipe()
    private let binaries: URL

    /// The executables are looked for beside the running program.
    public init() throws {
        directory = FileManager.default.temporaryDirectory.appendingPathComponent("needletail-demo-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        binaries = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
    }

    /// Starts one coordinator and `shardWorkers` workers and waits until they listen.
    public func start(shardWorkers: Int) throws {
        let port = try launch("needletail-coordinator", name: "coordinator", arguments: ["--admin", "0"])
        endpoint = "127.0.0.1:\(port)"
        for number in 1...shardWorkers {
            _ = try launch("needletail-shard", name: "shard-\(number)", arguments: ["--coordinator", endpoint])
        }
    }

    private func launch(_ executable: String, name: String, arguments: [String]) throws -> Int {
        let portFile = directory.appendingPathComponent("\(name).port")
        let log = directory.appendingPathComponent("\(name).log")
        try Data().write(to: log)
        let process = Process()
        process.executableURL = binaries.appendingPathComponent(executable)
        process.arguments =
            ["--data", directory.appendingPathComponent(name).path, "--listen", "127.0.0.1:0", "--port-file", portFile.path, "--end-with-input"] + arguments
        process.standardInput = lifeline.fileHandleForReading
        process.standardError = try FileHandle(forWritingTo: log)
        guard FileManager.default.isExecutableFile(atPath: process.executableURL?.path ?? "") else {
            throw NeedletailError(.failedPrecondition, "\(executable) is not beside this program; run `make build` first")
        }
        try process.run()
        processes.append(process)
        let deadline = Deadline.after(.seconds(20))
        while true {
            if let text = try? String(contentsOf: portFile, encoding: .utf8), let port = text.split(whereSeparator: \.isWhitespace).first.flatMap({ Int($0) }) {
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
        for process in processes.reversed() {
            process.terminate()
            process.waitUntilExit()
        }
        processes = []
        try? FileManager.default.removeItem(at: directory)
    }
}
