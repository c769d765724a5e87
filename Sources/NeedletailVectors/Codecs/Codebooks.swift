import NeedletailCore
private import CNeedletailKernels

/// The centroids that codes name: learned for one field, the same on every replica.
///
/// Product quantisation cuts a vector into `books` subspaces, of which each has its own book of centroids; residual quantisation takes
/// one centroid of each book, and their sum is the vector.
struct Codebooks: Sendable, Hashable {
    enum Kind: Sendable, Hashable {
        case product, residual
    }

    let kind: Kind
    let books: Int
    /// Centroids of each book: 256, or 16.
    let centroids: Int
    let dimensions: Int
    /// Product: one a book. Residual: one for all.
    private let matrices: [ProjectionMatrix]
    /// ½‖c‖² of each centroid, book after book.
    let halves: [Float]

    /// `rows`: `books × centroids` rows of the book's dimensions, one after the other; finite.
    init(kind: Kind, books: Int, centroids: Int, dimensions: Int, rows: [Float]) throws(NeedletailError) {
        self.kind = kind
        self.books = books
        self.centroids = centroids
        self.dimensions = dimensions
        var matrices: [ProjectionMatrix] = []
        var halves: [Float] = []
        var at = 0
        for book in 0..<books {
            let width = kind == .product ? Self.subspace(book, of: books, dimensions: dimensions).count : dimensions
            for _ in 0..<centroids {
                let squares = rows[at..<at + width].reduce(0.0) { $0 + Double($1) * Double($1) }
                halves.append(Float(squares / 2))
                at += width
            }
            guard kind == .product else { continue }
            let start = at - centroids * width
            matrices.append(try ProjectionMatrix(rows: Array(rows[start..<at]), inputDimensions: width, outputDimensions: centroids))
        }
        // Of fewer centroids than the least block, which is while books are learned.
        halves += [Float](repeating: .greatestFiniteMagnitude, count: TransformKernels.padded(halves.count) - halves.count)
        if kind == .residual {
            matrices = [try ProjectionMatrix(rows: rows, inputDimensions: dimensions, outputDimensions: books * centroids)]
        }
        self.matrices = matrices
        self.halves = halves
    }

    /// As `init` takes them.
    var rows: [Float] { matrices.flatMap(\.rows) }

    /// The dimensions of a subspace: the first `dimensions % books` have one more than the others.
    static func subspace(_ book: Int, of books: Int, dimensions: Int) -> Range<Int> {
        let (width, wider) = (dimensions / books, dimensions % books)
        let start = book * width + min(book, wider)
        return start..<start + width + (book < wider ? 1 : 0)
    }

    /// ⟨x, c⟩ for every centroid, book after book: `books × centroids` floats; `values` has `dimensions`. The same bits everywhere.
    func products(_ values: UnsafePointer<Float>, to out: UnsafeMutablePointer<Float>) {
        guard kind == .product else { return matrices[0].apply(values, to: out, kernels: .best) }
        for book in 0..<books {
            let start = Self.subspace(book, of: books, dimensions: dimensions).lowerBound
            matrices[book].apply(values + start, to: out + book * centroids, kernels: .best)
        }
    }

    /// Products of all centroids with one another: product `[book][code][other code]`, residual `[book, code][other book, other code]`.
    func gram() -> AlignedFloats {
        let rows = rows
        let side = books * centroids
        return AlignedFloats(count: kind == .product ? side * centroids : side * side) { target in
            rows.withUnsafeBufferPointer { rows in
                var at = 0
                for book in 0..<books {
                    let width = kind == .product ? Self.subspace(book, of: books, dimensions: dimensions).count : dimensions
                    for code in 0..<centroids {
                        let row = rows.baseAddress.unsafelyUnwrapped + at
                        let place = target + (book * centroids + code) * (kind == .product ? centroids : side)
                        matrices[kind == .product ? book : 0].apply(row, to: place, kernels: .best)
                        at += width
                    }
                }
            }
        }
    }

    /// What codes stand for: one code a book.
    func decode(_ codes: [UInt8]) -> [Float] {
        let rows = rows
        var values = [Float](repeating: 0, count: dimensions)
        var start = 0
        for book in 0..<books {
            let range = kind == .product ? Self.subspace(book, of: books, dimensions: dimensions) : 0..<dimensions
            let row = start + Int(codes[book]) * range.count
            for (index, place) in range.enumerated() { values[place] += rows[row + index] }
            start += centroids * range.count
        }
        return values
    }

    /// The centroid of a book nearest to a vector whose `products` with that book are given.
    func nearest(_ products: UnsafePointer<Float>, book: Int) -> Int {
        halves.withUnsafeBufferPointer {
            nt_nearest_centroid(products, $0.baseAddress.unsafelyUnwrapped + book * centroids, TransformKernels.padded(centroids))
        }
    }
}
