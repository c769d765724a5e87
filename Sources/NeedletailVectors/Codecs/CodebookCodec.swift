public import NeedletailCore
private import CNeedletailKernels
private import Glibc

/// Product quantisation (Jégou, Douze and Schmid, "Product quantization for nearest neighbor search", 2011) and residual quantisation
/// (Chen, Guan and Wang, "Approximate nearest neighbor search by residual vector quantization", 2010).
///
///     row = norm (float32)   codes (one byte a subspace or level; with 4 bits two subspaces a byte, the first in the low half)
///
/// A query makes a table of its products with all centroids, and a distance is a sum of table entries, in one order everywhere. A row that
/// stands as a query takes its tables from the products of centroids with one another, which are made with the codec: 256 KiB a code
/// byte for product quantisation, 256 KiB times the square of the levels for residual quantisation.
public struct CodebookCodec: RowCodec {
    public let transform: VectorTransform
    let metric: NeedletailCore.Metric
    let codebooks: Codebooks
    private let gram: AlignedFloats
    private let codeBytes: Int
    private let function: nt_lookup_rows_fn
    private let meanSquaredNorm: Double
    private let layout: ScratchLayout
    public let strideBytes: Int
    public var scratchBytes: Int { layout.bytes }
    private static let normBytes = MemoryLayout<Float>.size

    init(metric: NeedletailCore.Metric, codebooks: Codebooks, transform: VectorTransform, level: KernelLevel = .best) {
        precondition(metric != .hamming, "bits are their own code")
        precondition(codebooks.dimensions == transform.outputDimensions, "books of the transform's dimensions")
        self.metric = metric
        self.transform = transform
        self.codebooks = codebooks
        let halfBytes = codebooks.centroids == 16
        codeBytes = halfBytes ? (codebooks.books + 1) / 2 : codebooks.books
        strideBytes = (Self.normBytes + codeBytes + 3) & ~3
        gram = halfBytes ? Self.pairedGram(codebooks) : codebooks.gram()
        layout = ScratchLayout(dimensions: codebooks.dimensions, codeBytes: codeBytes, books: codebooks.books, roomFloats: transform.roomFloats)
        meanSquaredNorm = VectorLayout.squaredNorm(transform.mean ?? [])
        guard let table = nt_kernels_at(nt_level(level.number))?.pointee else {
            preconditionFailure("this processor has no kernels of level \(level)")
        }
        function = table.lookup
    }

    /// Whether two subspaces share a byte.
    private var isPaired: Bool { codebooks.centroids == 16 }

    /// The products of every byte of two codes with every other such byte.
    private static func pairedGram(_ codebooks: Codebooks) -> AlignedFloats {
        let single = codebooks.gram()
        return AlignedFloats(count: (codebooks.books + 1) / 2 * 65_536) { target in
            single.withPointer { single in
                for byte in 0..<(codebooks.books + 1) / 2 {
                    for code in 0..<256 {
                        let low = single + (2 * byte * 16 + code & 15) * 16
                        let high = 2 * byte + 1 < codebooks.books ? single + ((2 * byte + 1) * 16 + code >> 4) * 16 : nil
                        pair(low, high, to: target + (byte * 256 + code) * 256)
                    }
                }
            }
        }
    }

    /// One table of 256 from two of 16.
    private static func pair(_ low: UnsafePointer<Float>, _ high: UnsafePointer<Float>?, to out: UnsafeMutablePointer<Float>) {
        for code in 0..<256 { out[code] = low[code & 15] + (high.map { $0[code >> 4] } ?? 0) }
    }

    public func rescoreCount(limit: Int) -> Int { 10 * limit }

    /// What an inner product counts in a distance.
    private var weight: Float { metric == .l2 ? 2 : 1 }

    public func encode(_ vector: UnsafePointer<Float>, at row: UnsafeMutableRawPointer, scratch: UnsafeMutableRawPointer) {
        let parts = layout.parts(scratch)
        let constants = transform.apply(vector, room: parts.room, to: parts.values)
        codebooks.products(parts.values, to: parts.products)
        let codes = parts.codes
        switch codebooks.kind {
        case .product:
            for book in 0..<codebooks.books {
                codes[book] = UInt8(codebooks.nearest(parts.products + book * codebooks.centroids, book: book))
            }
        case .residual:
            let search = ResidualSearch(books: codebooks.books, centroids: codebooks.centroids)
            codebooks.halves.withUnsafeBufferPointer { halves in
                gram.withPointer { search.encode(parts.products, halves: halves.baseAddress.unsafelyUnwrapped, gram: $0, codes: codes) }
            }
        }
        let norm: Double
        // As with LVQ: what the linear map dropped is known, what rounding changed is left changed.
        let kept = TransformKernels.best.squares(parts.values, count: codebooks.dimensions)
        let squares = decodedSquares(codes) + max(0, constants.squaredNorm - kept)
        switch metric {
        case .l2: norm = squares
        case .cosine: norm = squares / 2
        case .dot, .hamming: norm = 0 - constants.meanProduct
        }
        memset(row, 0, strideBytes)
        row.storeBytes(of: Float(norm), as: Float.self)
        let target = (row + Self.normBytes).assumingMemoryBound(to: UInt8.self)
        for book in 0..<codebooks.books {
            if isPaired { target[book / 2] |= codes[book] << (book % 2 == 0 ? 0 : 4) } else { target[book] = codes[book] }
        }
    }

    /// ‖x̂‖² of the vector that codes (one a book) stand for.
    private func decodedSquares(_ codes: UnsafePointer<UInt8>) -> Double {
        let centroids = codebooks.centroids
        var sum = 0.0
        for book in 0..<codebooks.books { sum += 2 * Double(codebooks.halves[book * centroids + Int(codes[book])]) }
        guard codebooks.kind == .residual else { return sum }
        return gram.withPointer { gram in
            for book in 0..<codebooks.books {
                let row = gram + (book * centroids + Int(codes[book])) * codebooks.books * centroids
                for other in 0..<book { sum += 2 * Double(row[other * centroids + Int(codes[other])]) }
            }
            return sum
        }
    }

    public func prepare(
        _ vector: DenseVector, field: String, scratch: UnsafeMutableRawPointer
    ) throws(NeedletailError) -> PreparedQuery {
        let values = try VectorLayout.query(vector, dimensions: transform.inputDimensions, field: field)
        let parts = layout.parts(scratch)
        let constants = values.withUnsafeBufferPointer {
            transform.apply($0.baseAddress.unsafelyUnwrapped, room: parts.room, to: parts.values)
        }
        if isPaired {
            codebooks.products(parts.values, to: parts.products)
            for byte in 0..<codeBytes {
                let low = parts.products + 2 * byte * 16
                Self.pair(low, 2 * byte + 1 < codebooks.books ? UnsafePointer(low + 16) : nil, to: parts.tables + byte * 256)
            }
        } else {
            codebooks.products(parts.values, to: parts.tables)
        }
        var query = plainQuery(parts)
        switch metric {
        case .l2: query.offset = Float(constants.squaredNorm)
        case .cosine: query.offset = Float(constants.squaredNorm / 2)
        case .dot, .hamming: query.offset = 0 - Float(constants.meanProduct + meanSquaredNorm)
        }
        return query
    }

    /// A query whose tables lie one after the other in the scratch memory.
    private func plainQuery(_ parts: ScratchLayout.Parts) -> PreparedQuery {
        var query = PreparedQuery(values: UnsafeRawPointer(parts.tables))
        query.scale = weight
        return query
    }

    public func asQuery(_ row: UnsafeRawPointer, scratch: UnsafeMutableRawPointer) -> PreparedQuery {
        let parts = layout.parts(scratch)
        let codes = (row + Self.normBytes).assumingMemoryBound(to: UInt8.self)
        var query: PreparedQuery
        switch codebooks.kind {
        case .product:
            for byte in 0..<codeBytes { parts.offsets[byte] = UInt32((byte * 256 + Int(codes[byte])) * 256) }
            query = PreparedQuery(values: UnsafeRawPointer(parts.offsets))
            query.scale = weight
            query.isSymmetric = true
        case .residual:
            gram.withPointer { gram in
                let side = codeBytes * 256
                memcpy(parts.tables, gram + Int(codes[0]) * side, side * 4)
                for level in 1..<max(1, codeBytes) {
                    let products = gram + (level * 256 + Int(codes[level])) * side
                    for index in 0..<side { parts.tables[index] += products[index] }
                }
            }
            query = plainQuery(parts)
        }
        query.offset = metric == .dot ? 0 : row.load(as: Float.self)
        return query
    }

    public func distances(
        _ query: PreparedQuery, base: UnsafeRawPointer, rows: UnsafePointer<UInt32>?, count: Int, out: UnsafeMutablePointer<Float>
    ) {
        gram.withPointer { gram in
            var form = nt_lookup_query(
                offset: query.offset, scale: query.scale, tables: query.isSymmetric ? gram : query.values.assumingMemoryBound(to: Float.self),
                offsets: query.isSymmetric ? query.values.assumingMemoryBound(to: UInt32.self) : nil)
            function(&form, base, strideBytes, rows, count, codeBytes, out)
        }
    }

    public func isCopy(_ left: UnsafeRawPointer, _ right: UnsafeRawPointer) -> Bool { memcmp(left, right, strideBytes) == 0 }

    /// The codes of a row, one a book.
    func codes(_ row: UnsafeRawPointer) -> [UInt8] {
        let bytes = (row + Self.normBytes).assumingMemoryBound(to: UInt8.self)
        return (0..<codebooks.books).map { isPaired ? bytes[$0 / 2] >> ($0 % 2 == 0 ? 0 : 4) & 15 : bytes[$0] }
    }
}

/// Where the parts of the scratch memory begin, each on a cache line.
private struct ScratchLayout: Sendable {
    struct Parts {
        /// The transformed vector, and its codes one a byte.
        let values: UnsafeMutablePointer<Float>
        let codes: UnsafeMutablePointer<UInt8>
        /// Products with 16 centroids a book, or, with 256, the tables themselves.
        let products: UnsafeMutablePointer<Float>
        let offsets: UnsafeMutablePointer<UInt32>
        let tables: UnsafeMutablePointer<Float>
        let room: UnsafeMutablePointer<Float>
    }

    private let valueBytes: Int
    private let productBytes: Int
    private let offsetBytes: Int
    private let tableBytes: Int
    private let codeBytes: Int
    let bytes: Int

    init(dimensions: Int, codeBytes: Int, books: Int, roomFloats: Int) {
        func aligned(_ bytes: Int) -> Int { (bytes + 63) & ~63 }
        valueBytes = aligned(dimensions * 4)
        self.codeBytes = aligned(books)
        productBytes = codeBytes < books ? aligned(books * 16 * 4) : 0
        offsetBytes = aligned(codeBytes * 4)
        tableBytes = codeBytes * 256 * 4
        bytes = valueBytes + self.codeBytes + productBytes + offsetBytes + tableBytes + roomFloats * 4
    }

    func parts(_ scratch: UnsafeMutableRawPointer) -> Parts {
        let codes = scratch + valueBytes
        let products = codes + codeBytes
        let offsets = products + productBytes
        let tables = offsets + offsetBytes
        return Parts(
            values: scratch.assumingMemoryBound(to: Float.self), codes: codes.assumingMemoryBound(to: UInt8.self),
            products: (productBytes > 0 ? products : tables).assumingMemoryBound(to: Float.self),
            offsets: offsets.assumingMemoryBound(to: UInt32.self), tables: tables.assumingMemoryBound(to: Float.self),
            room: (tables + tableBytes).assumingMemoryBound(to: Float.self))
    }
}
