import NeedletailCore
import NeedletailTestSupport
@testable import NeedletailVectors
import Testing

/// Product and residual quantisation beside their definitions.
@Suite struct CodebookTests {
    /// F32: at least 95% of the centroids of every book are used on T3, and evenly enough to be worth their bits.
    @Test(arguments: ["pq32", "pq32x4", "rq8"]) func centroidsAreUsed(text: String) throws {
        let base = CodecRecallTests.set.base.selecting(0..<20_000)
        let field = VectorField(name: "v", dimensions: 768, metric: .cosine, index: try IndexSpec(text: text))
        let sample = try VectorSample(base.values, dimensions: 768)
        let health = try CodecTraining.train(field, sample: sample).codebookHealth(of: sample)
        let used = health.reduce(0) { $0 + $1.usedShare } / Double(health.count)
        let least = health.map { $0.perplexity / Double($0.centroids) }.min() ?? 0
        print("\(text): used \(used), least perplexity \(least) of the centroids")
        #expect(used >= 0.95 && health.allSatisfy { $0.usedShare >= 0.95 })
        #expect(least >= 0.3)
    }

    /// A sample of three clumps leaves most centroids without rows until they are given some.
    @Test func unusedCentroidsBeginAgain() throws {
        var generator = SeededGenerator.fresh()
        let clumps = (0..<3).map { _ in generator.gaussians(16).map { 10 * $0 } }
        // Most rows are copies of one, and so would be most centroids.
        var rows = VectorRows(dimensions: 16)
        for row in 0..<4_000 { rows.append(row % 8 == 0 ? zip(clumps[row % 3], generator.gaussians(16)).map { $0 + 0.1 * $1 } : clumps[row % 3]) }
        let field = VectorField(name: "v", dimensions: 16, metric: .l2, index: try IndexSpec(text: "pq2x4"))
        let sample = try VectorSample(rows.values, dimensions: 16)
        for book in try CodecTraining.train(field, sample: sample).codebookHealth(of: sample) { #expect(book.usedShare == 1, "\(book)") }
    }

    @Test func healthCountsUsesAndTheirEvenness() {
        let even = CodebookHealth(uses: [5, 5, 5, 5])
        #expect(even.usedShare == 1 && abs(even.perplexity - 4) < 1e-12)
        let half = CodebookHealth(uses: [7, 7, 0, 0])
        #expect(half.usedShare == 0.5 && abs(half.perplexity - 2) < 1e-12)
        #expect(CodebookHealth(uses: [0, 0]).usedShare == 0)
    }

    /// The table's distance is that to the vector which the codes stand for.
    @Test(arguments: [NeedletailCore.Metric.l2, .cosine, .dot], ["pq8", "pq7", "pq8x4", "pq7x4", "rq4", "rq1", "pq40"])
    func distancesAreThoseOfDecodedVectors(metric: NeedletailCore.Metric, text: String) throws {
        var generator = SeededGenerator.fresh()
        let rows = (0..<300).map { _ in generator.gaussians(40).map { $0 + 0.2 } }
        let model = try Self.model(metric, text, rows)
        let memory = EncodedRows(model.rowCodec(), rows: rows)
        let codec = try #require(memory.codec as? CodebookCodec)
        let decoded = rows.indices.map { codec.codebooks.decode(codec.codes(memory.row($0))) }
        let query = generator.gaussians(40)
        let weight = metric == .cosine ? 0.5 : 1.0
        for (left, got) in [
            (model.transform(query), try memory.distances(query)),
            (decoded[5], memory.distances(codec.asQuery(memory.row(5), scratch: memory.scratch))),
        ] {
            let exact = decoded.map { weight * BruteForce.distance(.l2, left, $0) }
            for row in rows.indices where metric != .dot { #expect(abs(Double(got[row]) - exact[row]) <= 1e-4 * (1 + abs(exact[row]))) }
            guard metric == .dot else { continue }
            // Up to a constant of the query: −⟨q − m, x̂⟩ − ⟨x − m, m⟩, of which the last is kept exactly.
            let mean = model.transform.mean ?? []
            let products = rows.indices.map { row in
                BruteForce.distance(.dot, left, decoded[row]) + BruteForce.distance(.dot, mean, zip(rows[row], mean).map { $0 - $1 })
            }
            for row in rows.indices { #expect(abs(Double(got[row] - got[0]) - (products[row] - products[0])) <= 1e-3) }
        }
    }

    /// Product codes name the nearest centroids; residual ones come nearer than one level after the other.
    @Test func codesNameTheNearest() throws {
        var generator = SeededGenerator.fresh()
        let rows = (0..<60).map { _ in generator.gaussians(24) }
        for text in ["pq4", "rq6"] {
            let model = try Self.model(.l2, text, (0..<400).map { _ in generator.gaussians(24) })
            let books = try #require(model.codebooks)
            let memory = EncodedRows(model.rowCodec(), rows: rows)
            let codec = try #require(memory.codec as? CodebookCodec)
            var (found, greedy) = (0.0, 0.0)
            for row in rows.indices {
                let vector = model.transform(rows[row])
                let codes = codec.codes(memory.row(row))
                found += BruteForce.distance(.l2, vector, books.decode(codes))
                greedy += BruteForce.distance(.l2, vector, books.decode(Self.greedy(books, vector)))
            }
            #expect(text == "pq4" ? abs(found - greedy) <= 1e-4 * greedy : found < 0.999 * greedy, "\(text): \(found) beside \(greedy)")
        }
    }

    @Test func trainingIsTheSameEveryTime() throws {
        var generator = SeededGenerator.fresh()
        let rows = (0..<600).map { _ in generator.gaussians(20) }
        for text in ["pq5", "pq5x4", "rq3"] { #expect(try Self.model(.l2, text, rows).encoded == Self.model(.l2, text, rows).encoded) }
    }

    @Test func fewVectorsAreRefused() throws {
        var generator = SeededGenerator.fresh()
        let rows = (0..<255).map { _ in generator.gaussians(20) }
        #expect(throws: NeedletailError.self) { try Self.model(.l2, "pq5", rows) }
        let field = VectorField(name: "v", dimensions: 20, metric: .l2, index: try IndexSpec(text: "pq5"))
        #expect(CodecTraining.leastSample(field) == 256)
    }

    /// The nearest centroid of each book by definition, each level on what the one before left.
    private static func greedy(_ books: Codebooks, _ vector: [Float]) -> [UInt8] {
        var (codes, chosen) = ([UInt8](repeating: 0, count: books.books), [UInt8]())
        for book in 0..<books.books {
            let others = (0..<books.books).map { $0 }
            var best = (distance: Double.infinity, code: UInt8(0))
            for code in 0..<books.centroids {
                codes[book] = UInt8(code)
                // Books not chosen yet count as nothing.
                let partial = others.filter { $0 <= book }
                let distance = BruteForce.distance(.l2, vector, sum(books, codes, partial))
                if distance < best.distance { best = (distance, UInt8(code)) }
            }
            codes[book] = best.code
            chosen.append(best.code)
        }
        return chosen
    }

    private static func sum(_ books: Codebooks, _ codes: [UInt8], _ partial: [Int]) -> [Float] {
        if books.kind == .residual {
            let rows = books.rows
            var values = [Float](repeating: 0, count: books.dimensions)
            for book in partial {
                let start = (book * books.centroids + Int(codes[book])) * books.dimensions
                for index in 0..<books.dimensions { values[index] += rows[start + index] }
            }
            return values
        }
        return books.decode(codes)
    }

    private static func model(_ metric: NeedletailCore.Metric, _ text: String, _ rows: [[Float]]) throws -> CodecModel {
        let field = VectorField(name: "v", dimensions: rows[0].count, metric: metric, index: try IndexSpec(text: text))
        return try CodecTraining.train(field, sample: VectorSample(rows.flatMap { $0 }, dimensions: rows[0].count))
    }
}
