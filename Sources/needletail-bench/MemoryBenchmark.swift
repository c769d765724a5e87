import ArgumentParser
import Foundation
import NeedletailCore
import NeedletailIndex
import NeedletailSyntheticSets
import NeedletailVectors

/// Memory of a graph, by part as computed, and as the system counts it.
struct MemoryBenchmark: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "memory", abstract: "Bytes a vector, by part and as the process really uses them.",
        discussion: "With a spec that ends in rescore(file) the vectors lie in a mapped file, whose pages the system can take back.")

    @OptionGroup var set: BenchmarkSet

    func run() async throws {
        let data = try VectorFile(path: set.base)
        let field = try set.field(dimensions: data.dimensions)
        let codec = try GraphBuild.train(data, field: field)
        let before = anonymousBytes()
        let index = try await GraphBuild.build(data, field: field, codec: codec, threads: set.buildThreads)
        let measured = anonymousBytes() - before
        let strides = GraphMemory.strides(field: field)
        let parts = [
            ("vectors", field.index.rescore.source == .file ? 0 : strides.rows), ("codes", codec?.strideBytes ?? 0), ("links", strides.links),
            ("nodes", strides.nodes), ("upper", index.upperBytes / data.count),
        ]
        let computed = parts.reduce(0) { $0 + $1.1 }
        emit(
            [("dataset", "\"\(data.name)\""), ("spec", "\"\(field.index)\""), ("n", "\(data.count)"), ("d", "\(data.dimensions)")]
                + parts.map { ("\($0.0)_bytes", "\($0.1)") } + [
                    ("computed_bytes_per_vector", "\(computed)"),
                    ("measured_bytes_per_vector", String(format: "%.1f", Double(measured) / Double(data.count))),
                    ("mapped_bytes_per_vector", "\(field.index.rescore.source == .file ? strides.rows : 0)"),
                ])
    }

    /// Memory of the process that no file backs.
    private func anonymousBytes() -> Int {
        let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
        let line = status.split(separator: "\n").first { $0.hasPrefix("RssAnon:") } ?? ""
        return (line.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) * 1024
    }
}
