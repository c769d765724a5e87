import NeedletailCore
import NeedletailTestSupport
import NeedletailVectors
import Testing

/// Every kernel at every level of this processor, against float64, at every length that could end in another tail.
@Suite struct RowDistanceTests {
    static let combinations: [(Metric, VectorElement)] =
        [Metric.l2, .dot, .cosine].flatMap { metric in [VectorElement.f32, .f16, .u8].map { (metric, $0) } }

    @Test(arguments: KernelLevel.available, combinations)
    func matchesFloat64(level: KernelLevel, combination: (Metric, VectorElement)) throws {
        var generator = SeededGenerator.fresh()
        for dimensions in 1...1100 {
            let rows = (0..<3).map { _ in representable(dimensions, combination.1, &generator) }
            let query = generator.gaussians(dimensions).map { $0 * (combination.1 == .u8 ? 50 : 1) }
            // The base lies at an odd address as often as not.
            let got = try distances(combination.0, combination.1, level: level, query: query, rows: rows, offset: dimensions % 5)
            for (row, distance) in zip(rows, got) {
                let expected = BruteForce.distance(combination.0, query, row)
                let scale = combination.0 == .cosine ? 1 : zip(query, row).reduce(0) { $0 + Double(abs($1.0 * $1.1)) + (combination.0 == .l2 ? Double($1.0 * $1.0 + $1.1 * $1.1) : 0) }
                try #require(
                    abs(Double(distance) - expected) <= 1e-5 * max(scale, 1e-6),
                    "\(level) \(combination) \(dimensions)-d: got \(distance), expected \(expected)")
            }
        }
    }

    @Test(arguments: KernelLevel.available)
    func countsDifferingBits(level: KernelLevel) throws {
        var generator = SeededGenerator.fresh()
        for dimensions in 1...1100 {
            let bytes = (dimensions + 7) / 8
            let mask = dimensions % 8 == 0 ? UInt8.max : UInt8(1 << (dimensions % 8)) - 1
            func random() -> [UInt8] {
                var vector = (0..<bytes).map { _ in UInt8.random(in: 0...255, using: &generator) }
                vector[bytes - 1] &= mask
                return vector
            }
            let (query, row) = (random(), random())
            let field = VectorField(name: "b", dimensions: dimensions, metric: .hamming, element: .bit)
            let distance = RowDistance(layout: VectorLayout(field: field), level: level)
            let got = try run(distance, query: DenseVector(element: .bit, bytes: query), rows: [row], offset: dimensions % 7)
            let expected = zip(query, row).reduce(0) { $0 + ($1.0 ^ $1.1).nonzeroBitCount }
            try #require(got == [Float(expected)], "\(level) \(dimensions) bits")
        }
    }

    @Test func listsOfRowsEqualScans() throws {
        var generator = SeededGenerator.fresh()
        let rows = (0..<67).map { _ in generator.gaussians(96) }
        let field = VectorField(name: "v", dimensions: 96, metric: .cosine)
        let distance = RowDistance(layout: VectorLayout(field: field))
        let query = DenseVector(generator.gaussians(96))
        let scanned = try run(distance, query: query, rows: rows.map { DenseVector($0).bytes }, offset: 0)
        let order = Array((0..<UInt32(rows.count)).shuffled(using: &generator))
        let listed = try run(distance, query: query, rows: rows.map { DenseVector($0).bytes }, offset: 0, list: order)
        #expect(listed == order.map { scanned[Int($0)] })
    }

    @Test func narrowsToHalfAsTheStandardLibraryDoes() throws {
        var generator = SeededGenerator.fresh()
        let layout = VectorLayout(field: VectorField(name: "h", dimensions: 1, metric: .l2, element: .f16))
        for _ in 0..<200_000 {
            let value = Float(bitPattern: UInt32(truncatingIfNeeded: generator.next()))
            guard value.isFinite, abs(value) < 65_000 else { continue }
            let bytes = try layout.convert(DenseVector([value]), field: "h")
            #expect(UInt16(bytes[0]) | UInt16(bytes[1]) << 8 == Float16(value).bitPattern, "\(value)")
        }
    }

    @Test func refusesWhatDoesNotFit() throws {
        func convert(_ vector: DenseVector, element: VectorElement, metric: Metric = .l2, dimensions: Int = 2) throws {
            _ = try VectorLayout(field: VectorField(name: "v", dimensions: dimensions, metric: metric, element: element))
                .convert(vector, field: "v")
        }
        for (vector, element) in [
            (DenseVector([1, .nan]), VectorElement.f32), (DenseVector([1, .infinity]), .f32), (DenseVector([1, 2, 3]), .f32),
            (DenseVector([1e30, 1e30]), .f32), (DenseVector([0.5, 1]), .u8), (DenseVector([-1, 1]), .u8), (DenseVector([256, 1]), .u8),
            (DenseVector([70_000, 0]), .f16), (DenseVector(element: .f16, bytes: [0, 0x7c, 0, 0]), .f16),
            (DenseVector(element: .bit, bytes: [0]), .f32),
        ] {
            #expect(throws: NeedletailError.self, "\(vector) as \(element)") { try convert(vector, element: element) }
        }
        #expect(throws: NeedletailError.self) {
            try convert(DenseVector(element: .bit, bytes: [0b1000]), element: .bit, metric: .hamming, dimensions: 3)
        }
    }

    /// Values that the element holds exactly, as floats.
    private func representable(_ dimensions: Int, _ element: VectorElement, _ generator: inout SeededGenerator) -> [Float] {
        switch element {
        case .f16: generator.gaussians(dimensions).map { Float(Float16($0)) }
        case .u8: (0..<dimensions).map { _ in Float(UInt8.random(in: 0...255, using: &generator)) }
        default: generator.gaussians(dimensions)
        }
    }

    private func distances(
        _ metric: Metric, _ element: VectorElement, level: KernelLevel, query: [Float], rows: [[Float]], offset: Int
    ) throws -> [Float] {
        let field = VectorField(name: "v", dimensions: query.count, metric: metric, element: element)
        let distance = RowDistance(layout: VectorLayout(field: field), level: level)
        return try run(
            distance, query: DenseVector(query), rows: try rows.map { try distance.layout.convert(DenseVector($0), field: "v") }, offset: offset)
    }

    private func run(
        _ distance: RowDistance, query: DenseVector, rows: [[UInt8]], offset: Int, list: [UInt32]? = nil
    ) throws -> [Float] {
        let stride = distance.layout.strideBytes
        let memory = UnsafeMutableRawPointer.allocate(byteCount: rows.count * stride + offset, alignment: 64)
        let prepared = UnsafeMutableRawPointer.allocate(byteCount: distance.scratchBytes, alignment: 64)
        defer {
            memory.deallocate()
            prepared.deallocate()
        }
        // Poison: bytes beyond a row's vector must not count.
        memory.initializeMemory(as: UInt8.self, repeating: 0x7f, count: rows.count * stride + offset)
        for (index, row) in rows.enumerated() { distance.store(row, at: memory + offset + index * stride) }
        let query = try distance.prepare(query, field: "v", scratch: prepared)
        return [Float](unsafeUninitializedCapacity: rows.count) { out, count in
            distance.distances(query, base: memory + offset, rows: list, count: rows.count, out: out.baseAddress!)
            count = rows.count
        }
    }
}
