/// `count × dimensions` float32 values, row-major.
public struct VectorRows: Sendable, Hashable {
    public let dimensions: Int
    public private(set) var values: [Float]

    public init(dimensions: Int, capacity: Int = 0) {
        self.dimensions = dimensions
        values = []
        values.reserveCapacity(capacity * dimensions)
    }

    public var count: Int { values.count / dimensions }

    public subscript(row: Int) -> [Float] { Array(values[row * dimensions..<(row + 1) * dimensions]) }

    /// One array a row.
    public var vectors: [[Float]] { (0..<count).map { self[$0] } }

    public mutating func append(_ row: [Float]) {
        precondition(row.count == dimensions, "a row of \(row.count) values among rows of \(dimensions)")
        values += row
    }

    /// The rows named, in that order.
    public func selecting(_ rows: some Collection<Int>) -> VectorRows {
        var selected = VectorRows(dimensions: dimensions, capacity: rows.count)
        for row in rows { selected.values += values[row * dimensions..<(row + 1) * dimensions] }
        return selected
    }

    /// Divides every row by its norm.
    mutating func normalise() {
        for start in stride(from: 0, to: values.count, by: dimensions) {
            var squares = 0.0
            for index in start..<start + dimensions { squares += Double(values[index]) * Double(values[index]) }
            let norm = Float(squares.squareRoot())
            guard norm > 0 else { continue }
            for index in start..<start + dimensions { values[index] /= norm }
        }
    }

    /// Runs `body` on each row in place; it gets `dimensions` values.
    mutating func mutateRows(_ body: (UnsafeMutableBufferPointer<Float>) -> Void) {
        let width = dimensions
        values.withUnsafeMutableBufferPointer { all in
            for start in stride(from: 0, to: all.count, by: width) { body(UnsafeMutableBufferPointer(rebasing: all[start..<start + width])) }
        }
    }
}
