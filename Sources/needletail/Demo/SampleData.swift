import Foundation
import NeedletailCore

/// The sample that ships with the project: 5,000 WordNet definitions with embeddings, and 200 sentences as queries.
struct SampleData {
    struct Document: Decodable {
        let id: UInt64
        let pos: String
        let lemmas: [String]
        let text: String
    }

    struct Query: Decodable {
        let row: Int
        let text: String
        let relevant: UInt64
    }

    let documents: [Document]
    let queries: [Query]
    private let vectors: HalfMatrix
    private let queryVectors: HalfMatrix
    var dimensions: Int { vectors.dimensions }

    init() throws {
        guard let folder = Bundle.module.url(forResource: "sample", withExtension: nil) else {
            throw NeedletailError(.failedPrecondition, "the sample data are missing beside the program; run `make build` again")
        }
        documents = try Self.lines(folder.appendingPathComponent("docs.jsonl"))
        queries = try Self.lines(folder.appendingPathComponent("queries.jsonl"))
        vectors = try HalfMatrix(folder.appendingPathComponent("vectors.f16bin"))
        queryVectors = try HalfMatrix(folder.appendingPathComponent("queries.f16bin"))
    }

    func vector(of document: Document) -> DenseVector { vectors.row(Int(document.id)) }
    func vector(of query: Query) -> DenseVector { queryVectors.row(query.row) }

    private static func lines<Value: Decodable>(_ url: URL) throws -> [Value] {
        let decoder = JSONDecoder()
        return try String(contentsOf: url, encoding: .utf8).split(separator: "\n").map { try decoder.decode(Value.self, from: Data($0.utf8)) }
    }
}

/// Rows of half-precision floats: `UInt32` rows, `UInt32` dimensions, then the values.
struct HalfMatrix {
    let dimensions: Int
    private let bytes: [UInt8]

    init(_ url: URL) throws {
        let data = try Data(contentsOf: url)
        guard data.count >= 8 else { throw NeedletailError(.dataLoss, "\(url.lastPathComponent) is too short") }
        let (rows, columns) = data.withUnsafeBytes { ($0.loadUnaligned(as: UInt32.self), $0.loadUnaligned(fromByteOffset: 4, as: UInt32.self)) }
        guard data.count == 8 + Int(rows) * Int(columns) * 2 else { throw NeedletailError(.dataLoss, "\(url.lastPathComponent) is damaged") }
        dimensions = Int(columns)
        bytes = Array(data.dropFirst(8))
    }

    func row(_ index: Int) -> DenseVector {
        DenseVector(element: .f16, bytes: Array(bytes[index * dimensions * 2..<(index + 1) * dimensions * 2]))
    }
}
