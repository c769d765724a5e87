import ArgumentParser
import Foundation
import NeedletailCore
import NeedletailIndex
import NeedletailSyntheticSets
import NeedletailVectors

/// A data set and the graph over it, as several benchmarks take them.
struct BenchmarkSet: ParsableArguments {
    @Option(help: "Base vectors: .fbin, .f16bin, .u8bin or .i8bin.") var base: String
    @Option(help: "Query vectors, same formats.") var query: String
    @Option(help: "l2, cosine or dot.") var metric = "l2"
    @Option(help: "Index spec, such as none, lvq8 or \"leanvec160,lvq8,rescore50\".") var codec = "none"
    @Option(help: "Threads that build the graph.") var buildThreads = 2

    static let metrics: [String: Metric] = ["l2": .l2, "cosine": .cosine, "dot": .dot]

    func field(dimensions: Int) throws -> VectorField {
        guard let metric = Self.metrics[metric] else { throw ValidationError("--metric is l2, cosine or dot, not \(metric)") }
        let field = VectorField(name: "v", dimensions: dimensions, metric: metric, index: try IndexSpec(text: codec))
        try field.validate()
        return field
    }

    /// The built graph, the base, and at most `queries` queries.
    func load(queries count: Int) async throws -> (index: HNSWIndex, data: VectorFile, queries: [DenseVector]) {
        let data = try VectorFile(path: base)
        let queries = try VectorFile(path: query)
        let field = try field(dimensions: data.dimensions)
        let index = try await GraphBuild.build(data, field: field, codec: try GraphBuild.train(data, field: field), threads: buildThreads)
        return (index, data, (0..<min(count, queries.count)).map(queries.vector))
    }
}
