import Foundation
import NeedletailCore
import NeedletailSyntheticSets

/// The vectors and queries of a scenario. A point's id is its row.
struct LoadSet: Sendable {
    let name: String
    let dimensions: Int
    let metric: Metric
    /// `count × dimensions`, row-major: the points that are loaded, then those held back.
    let rows: [Float]
    /// `queryCount × dimensions`, row-major.
    let queries: [Float]
    /// Rows that are loaded.
    let points: Int

    var count: Int { rows.count / dimensions }
    var queryCount: Int { queries.count / dimensions }

    init(_ spec: Scenario.DataSpec, seed: UInt64) throws {
        metric = ["cosine": .cosine, "dot": .dot][spec.metric] ?? .l2
        let wanted = spec.points + spec.spare
        let (base, asked): (VectorFile, VectorFile)
        if let file = spec.base, let query = spec.query {
            (base, asked) = (try VectorFile(path: file), try VectorFile(path: query))
            guard base.dimensions == asked.dimensions else {
                throw NeedletailError(
                    .invalidArgument,
                    "\(file) has \(base.dimensions) dimensions and \(query) \(asked.dimensions); give files that belong together")
            }
        } else {
            // Far fewer centres than points, as in real sets; the seed is the scenario's, so all load processes have the same.
            let made = SyntheticSets.tight(
                count: wanted, queries: spec.queries, dimensions: spec.dimensions, centres: max(1, min(200, wanted / 50)),
                seed: seed)
            (base, asked) = (VectorFile(name: "made-up clusters", rows: made.base), VectorFile(name: "", rows: made.queries))
        }
        name = base.name
        dimensions = base.dimensions
        let kept = min(base.count, wanted)
        // A set that is too short has fewer of both kinds.
        points = kept == wanted ? spec.points : max(1, kept * spec.points / wanted)
        rows = Self.prepared(base.values.prefix(kept * dimensions), dimensions, metric)
        queries = Self.prepared(asked.values.prefix(min(asked.count, spec.queries) * dimensions), dimensions, metric)
        guard !queries.isEmpty, !rows.isEmpty else {
            throw NeedletailError(.invalidArgument, "the files of vectors and queries have at least one row each")
        }
    }

    /// Under the cosine all that counts is the direction; with rows of length 1 their product is the cosine.
    private static func prepared(_ values: ArraySlice<Float>, _ dimensions: Int, _ metric: Metric) -> [Float] {
        var values = Array(values)
        guard metric == .cosine else { return values }
        for start in stride(from: 0, to: values.count, by: dimensions) {
            let norm = values[start..<start + dimensions].reduce(0) { $0 + $1 * $1 }.squareRoot()
            guard norm > 0 else { continue }
            for index in start..<start + dimensions { values[index] /= norm }
        }
        return values
    }

    func query(_ number: Int) -> DenseVector { DenseVector(Array(queries[number * dimensions..<(number + 1) * dimensions])) }

    /// The bytes of these rows, one after the other.
    func bytes(of numbers: some Sequence<Int>) -> [UInt8] {
        var values: [Float] = []
        for row in numbers { values += rows[row * dimensions..<(row + 1) * dimensions] }
        return DenseVector(values).bytes
    }

    /// Smaller is closer: squared distance, or the product negated.
    func distance(query: Int, row: Int) -> Float {
        queries.withUnsafeBufferPointer { queries in
            rows.withUnsafeBufferPointer { rows in
                Self.distance(
                    UnsafeBufferPointer(rebasing: queries[query * dimensions..<(query + 1) * dimensions]),
                    UnsafeBufferPointer(rebasing: rows[row * dimensions..<(row + 1) * dimensions]), isL2: metric == .l2)
            }
        }
    }

    /// Of two rows of the same length. Plain on purpose: what judges the engine shares no code with it.
    static func distance(_ left: UnsafeBufferPointer<Float>, _ right: UnsafeBufferPointer<Float>, isL2: Bool) -> Float {
        let width = 16
        var sums = SIMD16<Float>.zero
        var index = 0
        let (a, b) = (UnsafeRawPointer(left.baseAddress.unsafelyUnwrapped), UnsafeRawPointer(right.baseAddress.unsafelyUnwrapped))
        // `index + width` stays within both rows, which are of one length.
        while index + width <= left.count {
            let (x, y) = (
                a.loadUnaligned(fromByteOffset: index * 4, as: SIMD16<Float>.self),
                b.loadUnaligned(fromByteOffset: index * 4, as: SIMD16<Float>.self)
            )
            if isL2 {
                let difference = x - y
                sums += difference * difference
            } else {
                sums -= x * y
            }
            index += width
        }
        var sum = sums.sum()
        while index < left.count {
            let difference = left[index] - right[index]
            sum += isL2 ? difference * difference : -left[index] * right[index]
            index += 1
        }
        return sum
    }
}
