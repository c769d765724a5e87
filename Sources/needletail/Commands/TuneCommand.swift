import ArgumentParser
import Foundation
import NeedletailCore
import NeedletailJSON
import NeedletailTelemetry
import NeedletailTuning

struct TuneCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tune", abstract: "Find the index spec for your vectors: try a number of them on a sample, without a cluster.",
        discussion: """
            Prints the specs worth a choice: those that no other one beats in memory, speed and recall at once, each with the least ef that has the \
            recall that is wanted. The one with an asterisk is the fastest of them within the memory that there is:

              needletail tune vectors.fbin --queries queries.fbin --metric cosine --recall 0.95 --memory-bytes-per-vector 600

            Speed is that of one thread on the sample: it compares specs, and is larger than on more vectors. When vectors do not fit into the \
            memory beside their codes they are left in a file, rescore(file); speed is then that of a file whose pages are in memory.
            """)

    @Argument(help: "Vectors: .fbin .f16bin .u8bin .i8bin .fvecs .npy") var vectors: String
    @Option(help: "A file of queries; without it some of the vectors are held out and asked for.") var queries: String?
    @Option(help: "l2, cosine or dot.") var metric: String
    @Option(help: "How the field stores vectors: f32, f16 or u8; as the file does if absent.") var element: String?
    @Option(help: "Neighbours of a query.") var limit = 10
    @Option(help: "The recall that is wanted.") var recall = 0.95
    @Option(help: "Memory that a vector may take.") var memoryBytesPerVector: Int?
    @Option(help: "Seconds to spend: specs for which no time is left are not tried.") var seconds = 120.0
    @Option(help: "Vectors to try specs on, at most.") var sample = 20_000
    @Option(help: "Queries to ask, at most.") var maxQueries = 200
    @Option(help: "Threads that build graphs; as many as there are processors if absent.") var threads: Int?
    @Option(name: .customLong("spec"), help: "Try this index spec; repeat for more. A list of likely ones if absent.") var specs: [String] = []
    @Flag(help: "Print the whole front: each spec with every ef that nothing beats.") var all = false
    @Flag(help: "Print everything measured, one JSON object a line.") var json = false

    func validate() throws {
        guard Metric(option: metric).map({ $0 != .hamming }) ?? false else { throw ValidationError("--metric is l2, cosine or dot, not \"\(metric)\".") }
        if let element { guard VectorElement(option: element) != nil else { throw ValidationError("--element is f32, f16 or u8, not \"\(element)\".") } }
        guard (1...Limits.searchLimit).contains(limit) else { throw ValidationError("--limit is 1 to \(Limits.searchLimit).") }
        guard recall > 0, recall <= 1 else { throw ValidationError("--recall is above 0 and at most 1.") }
        guard seconds > 0, memoryBytesPerVector ?? 1 > 0, sample > 0, maxQueries > 0, threads ?? 1 > 0 else {
            throw ValidationError("All numbers must be positive.")
        }
    }

    func run() async throws {
        let file = try VectorFile(vectors)
        let element = element.flatMap { VectorElement(option: $0) } ?? file.scalar.element
        guard let metric = Metric(option: metric) else { return }
        let (base, asked) = try rows(of: file)
        let specs =
            try specs.isEmpty
            ? TuningCandidates.specs(dimensions: file.dimensions, metric: metric, element: element) : specs.map { try IndexSpec(text: $0) }
        var plan = TuningPlan(metric: metric, element: element, specs: specs)
        plan.limit = limit
        plan.recall = recall
        plan.memoryBytes = memoryBytesPerVector
        plan.seconds = seconds
        plan.threads = threads ?? ProcessInfo.processInfo.activeProcessorCount
        let tuner = try Tuner(plan, base: base, queries: asked, dimensions: file.dimensions)
        say("\(base.count) of \(file.rowCount) vectors of \(file.dimensions) dimensions, \(asked.count) queries, \(specs.count) specs")
        let report = try await tuner.run { spec, number in say("[\(number + 1)/\(specs.count)] \(spec)") }
        if json { printLines(report) } else { printTable(report) }
        guard report.suggestion != nil else {
            throw NeedletailError(
                .failedPrecondition, "no spec fits: allow more --memory-bytes-per-vector, or give more vectors (codebooks need 256)")
        }
    }

    /// Vectors to build on and queries to ask: evenly drawn, and without a file of queries none of them both.
    private func rows(of file: VectorFile) throws -> (base: [DenseVector], queries: [DenseVector]) {
        func drawn(_ file: VectorFile, _ rows: [Int], _ count: Int) throws -> [DenseVector] {
            let count = min(count, rows.count)
            return try (0..<count).map { try file.vector(rows[$0 * rows.count / count]) }
        }
        let all = Array(0..<file.rowCount)
        if let queries {
            let asked = try VectorFile(queries)
            guard asked.dimensions == file.dimensions else {
                throw NeedletailError(
                    .invalidArgument, "\(queries) has \(asked.dimensions) dimensions and \(vectors) \(file.dimensions); queries and vectors must agree")
            }
            return (try drawn(file, all, sample), try drawn(asked, Array(0..<asked.rowCount), maxQueries))
        }
        // At most a tenth of the vectors is held out.
        let step = max(10, file.rowCount / maxQueries)
        let held = all.filter { $0 % step == step / 2 }
        return (try drawn(file, all.filter { $0 % step != step / 2 }, sample), try drawn(file, held, maxQueries))
    }

    private func say(_ text: String) { StandardStreams.say(text + "\n") }

    private func printTable(_ report: TuningReport) {
        var table = Table("", "SPEC", "EF", "RECALL", "QPS", "MEMORY/VECTOR", "FILE/VECTOR")
        for entry in all ? report.front : report.choices {
            table.add(
                entry == report.suggestion ? "*" : "", "\(entry.spec)", "\(entry.ef)", Self.rounded(entry.recall, 1_000),
                "\(Int(entry.queriesPerSecond))", "\(entry.memoryBytes) B", entry.fileBytes > 0 ? "\(entry.fileBytes) B" : "")
        }
        table.print()
        if let best = report.suggestion {
            print("\n* --index \"\(best.spec)\", searched with --ef \(best.ef)")
            if !report.reachesRecall { print("No spec reaches a recall of \(recall): this is the best there is. Allow more memory or time.") }
        }
        if !report.leftOut.isEmpty {
            print("Not measured for want of time, memory or vectors: " + report.leftOut.map { "\($0)" }.joined(separator: "; "))
        }
    }

    private func printLines(_ report: TuningReport) {
        for entry in report.measurements {
            print(
                JSONWriter.text(
                    .map([
                        "spec": .string("\(entry.spec)"), "ef": .count(entry.ef), "recall": .double(entry.recall),
                        "qps": .double(entry.queriesPerSecond.rounded()), "memory_bytes_per_vector": .count(entry.memoryBytes),
                        "file_bytes_per_vector": .count(entry.fileBytes), "pareto": .bool(report.front.contains(entry)),
                        "suggested": .bool(entry == report.suggestion), "reaches_recall": .bool(entry.recall >= recall),
                    ])))
        }
    }

    private static func rounded(_ value: Double, _ parts: Double) -> String { "\((value * parts).rounded() / parts)" }
}
