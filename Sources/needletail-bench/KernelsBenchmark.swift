import ArgumentParser
import Foundation
import NeedletailCore
import NeedletailSyntheticSets
import NeedletailVectors

/// How fast each kernel scores rows, beside how fast the same rows can be read at all.
///
/// In every round each kernel scans its rows and a plain streaming read goes over the same rows, in turns; medians are reported. So a
/// fraction of bandwidth compares two runs of the same moment, which is what noisy machines allow.
struct KernelsBenchmark: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kernels", abstract: "ns a row and GB/s of every kernel at every level, in cache and out of it. One thread.",
        discussion: """
            "read" is the rate of a plain read of the same rows; "fraction" what the kernel reaches of it. "gather" takes rows in random order, \
            \(Self.list) at a time, as a graph is walked.
            """)

    @Option(help: "Dimensions.") var dimensions = 768
    @Option(help: "Rounds.") var rounds = 7
    @Option(help: "KiB of rows in cache.") var cached = 256
    @Option(help: "MiB of rows out of cache: several times the last level.") var large = 160
    @Option(help: "Kernels, comma-separated, as the column \"kernel\" names them; all if absent.") var only: String?
    @Option(help: "Levels, comma-separated; all that this processor has if absent.") var levels: String?

    private static let list = 32

    func validate() throws {
        guard dimensions > 0, rounds > 0, cached > 0, large > 0 else { throw ValidationError("all numbers must be positive") }
    }

    func run() throws {
        let named = levels.map { $0.split(separator: ",").map(String.init) }
        let chosen = KernelLevel.available.filter { named?.contains($0.rawValue) ?? true }
        let wanted = only.map { Set($0.split(separator: ",").map(String.init)) }
        for kernel in try KernelCase.all(dimensions: dimensions, wanted: wanted) {
            for (place, bytes) in [("cache", cached << 10), ("memory", large << 20)] {
                try measure(try chosen.map { ($0, try kernel.rows($0, bytes: bytes)) }, kernel: kernel, place: place)
            }
        }
    }

    /// All levels of one kernel in turns.
    private func measure(_ sets: [(level: KernelLevel, rows: EncodedSet)], kernel: KernelCase, place: String) throws {
        var times = [KernelTimes](repeating: KernelTimes(), count: sets.count)
        let inCache = place == "cache"
        for round in 0...rounds {
            for (index, (level, rows)) in sets.enumerated() {
                let query = try rows.prepare(kernel.query)
                // A pass over few rows is too short for the clock.
                let passes = inCache ? max(1, (8 << 20) / rows.bytes) : 1
                let scan = timed { for _ in 0..<passes { rows.pass(query) } } / Double(passes)
                var sum: UInt64 = 0
                let read = timed { for _ in 0..<passes { sum &+= level.read(rows.memory) } } / Double(passes)
                precondition(sum != 1, "the sum is used, so that the read is not left out")
                let order = inCache ? [] : kernel.order(rows.count)
                let gather = timed { rows.gather(query, order, list: Self.list) } / Double(max(1, order.count))
                if round > 0 { times[index].add(scan: scan, read: read, gather: gather) }  // the first round warms up
            }
        }
        for ((level, rows), times) in zip(sets, times) { report(level, rows, times, kernel, place) }
    }

    private func report(_ level: KernelLevel, _ rows: EncodedSet, _ times: KernelTimes, _ kernel: KernelCase, _ place: String) {
        let (scan, read) = (median(times.scans), median(times.reads))
        // What a kernel reads of a row may be less than what lies between rows.
        let walked = (rows.scorer as? any RowCodec)?.walkedBytes ?? rows.scorer.strideBytes
        let part = Double(walked) / Double(rows.scorer.strideBytes)
        emit([
            ("kernel", "\"\(kernel.name)\""), ("level", "\"\(level)\""), ("place", "\"\(place)\""), ("d", "\(dimensions)"), ("rows", "\(rows.count)"),
            ("bytes_per_row", "\(walked)"), ("ns_per_row", String(format: "%.2f", scan / Double(rows.count) * 1e9)),
            ("gb_per_second", String(format: "%.2f", part * Double(rows.bytes) / scan / 1e9)),
            ("read_gb_per_second", String(format: "%.2f", Double(rows.bytes) / read / 1e9)),
            ("fraction", String(format: "%.3f", part * median(times.fractions))),
        ] + (place == "cache" ? [] : [("gather_ns_per_row", String(format: "%.2f", median(times.gathers) * 1e9))]))
    }
}

/// Seconds of each round: a scan, a read of the same rows, a row of a gather.
private struct KernelTimes {
    var scans: [Double] = []
    var reads: [Double] = []
    var gathers: [Double] = []

    mutating func add(scan: Double, read: Double, gather: Double) {
        scans.append(scan)
        reads.append(read)
        gathers.append(gather)
    }

    /// What the scan reached of the read beside it.
    var fractions: [Double] { zip(reads, scans).map { $0 / $1 } }
}

/// One kernel: how its rows are made, and a query for them.
private struct KernelCase {
    let name: String
    let query: DenseVector
    let make: (KernelLevel, _ bytes: Int) throws -> EncodedSet

    func rows(_ level: KernelLevel, bytes: Int) throws -> EncodedSet { try make(level, bytes) }

    /// Rows in no order, few enough for a round to be short.
    func order(_ count: Int) -> [UInt32] {
        var generator = SeededGenerator(seed: 1)
        return (0..<min(count, 100_000)).map { _ in UInt32.random(in: 0..<UInt32(count), using: &generator) }
    }

    /// Those named in `wanted`; all when nil.
    static func all(dimensions: Int, wanted: Set<String>?) throws -> [KernelCase] {
        var generator = SeededGenerator(seed: 7)
        let sample = try VectorSample((0..<1_024).flatMap { _ in generator.gaussians(dimensions) }, dimensions: dimensions)
        let plain: [(String, NeedletailCore.Metric, VectorElement)] = [
            ("l2_f32", .l2, .f32), ("dot_f32", .dot, .f32), ("l2_f16", .l2, .f16), ("dot_f16", .dot, .f16), ("l2_u8", .l2, .u8), ("dot_u8", .dot, .u8),
            ("hamming", .hamming, .bit),
        ]
        let codecs = CodecSpec.examples.filter { $0 != .asGiven && $0.problem(dimensions: dimensions) == nil && wanted?.contains($0.name) ?? true }
        return try plain.filter { wanted?.contains($0.0) ?? true }.map { stored($0.0, $0.1, $0.2, sample) } + codecs.map { try coded($0, sample) }
    }

    /// Vectors as they are given: a kernel of one metric and element.
    private static func stored(_ name: String, _ metric: NeedletailCore.Metric, _ element: VectorElement, _ sample: VectorSample) -> KernelCase {
        let field = VectorField(name: "v", dimensions: sample.dimensions, metric: metric, element: element)
        let vectors = (0..<16).map { vector(sample, $0, element) }
        return KernelCase(name: name, query: vectors[0]) { level, bytes in
            let distance = RowDistance(layout: VectorLayout(field: field), level: level)
            return try EncodedSet(distance, count: max(1, bytes / distance.strideBytes)) { row, target, _ in
                distance.store(try distance.layout.convert(vectors[row % vectors.count], field: "v"), at: target)
            }
        }
    }

    private static func coded(_ codec: CodecSpec, _ sample: VectorSample) throws -> KernelCase {
        let field = VectorField(name: "v", dimensions: sample.dimensions, metric: .l2, index: IndexSpec(codec: codec))
        let model = try CodecTraining.train(field, sample: sample)
        return KernelCase(name: codec.name, query: vector(sample, 0, .f32)) { level, bytes in
            let coder = model.rowCodec(level: level)
            // Sixteen rows are enough to write all others: kernels take as long whatever the codes.
            let pattern = EncodedSet(coder, count: 16) { row, target, scratch in
                sample.values.withUnsafeBufferPointer {
                    coder.encode($0.baseAddress.unsafelyUnwrapped + row * sample.dimensions, at: target, scratch: scratch)
                }
            }
            return EncodedSet(coder, count: max(1, bytes / coder.strideBytes)) { row, target, _ in
                target.copyMemory(
                    from: pattern.memory.baseAddress.unsafelyUnwrapped + row % 16 * coder.strideBytes, byteCount: coder.strideBytes)
            }
        }
    }

    private static func vector(_ sample: VectorSample, _ row: Int, _ element: VectorElement) -> DenseVector {
        let values = sample.values[row * sample.dimensions..<(row + 1) * sample.dimensions]
        switch element {
        case .f32, .f16: return DenseVector(Array(values))
        case .u8: return DenseVector(values.map { max(0, min(255, (128 + 40 * $0).rounded())) })
        case .bit:
            var bits = [UInt8](repeating: 0, count: (values.count + 7) / 8)
            for (index, value) in values.enumerated() where value > 0 { bits[index / 8] |= 1 << UInt8(index % 8) }
            return DenseVector(element: .bit, bytes: bits)
        }
    }
}
