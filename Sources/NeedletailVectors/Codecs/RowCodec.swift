public import NeedletailCore

/// A query in the form a codec scores with. Its values lie in the scratch memory or the row that it was made from, and it must not be
/// used after either.
public struct PreparedQuery {
    var values: UnsafeRawPointer
    var offset: Float = 0
    var scale: Float = 1
    var sum: Float = 0
    var bias: Float = 0
    /// For RaBitQ: a term of the whole number, whether the query is a row of bits, ‖q‖ and the norm of what rounding changed.
    var shift: Int32 = 0
    var isSymmetric = false
    var norm: Float = 0
    var rounding: Float = 0

    init(values: UnsafeRawPointer) { self.values = values }
}

/// How near a query is to the rows that a graph walks on.
///
/// Memory is the caller's, who vouches for it: a row is `strideBytes` long, `scratch` has `scratchBytes` and is 64-byte aligned, `out` has
/// room for the rows it names. Nothing is checked inside, since this is the innermost loop of a search.
public protocol RowScorer: Sendable {
    /// Bytes from one row to the next.
    var strideBytes: Int { get }
    /// Scratch memory of `prepare` and `asQuery`.
    var scratchBytes: Int { get }

    /// Readies a vector for scoring.
    /// - Throws: `invalidArgument` for a vector that does not fit `field`, which names it in the message.
    func prepare(_ vector: DenseVector, field: String, scratch: UnsafeMutableRawPointer) throws(NeedletailError) -> PreparedQuery

    /// Lets a stored row stand as a query.
    func asQuery(_ row: UnsafeRawPointer, scratch: UnsafeMutableRawPointer) -> PreparedQuery

    /// Distances from the query to `count` rows at `base`. `rows == nil` means those that follow one another.
    func distances(
        _ query: PreparedQuery, base: UnsafeRawPointer, rows: UnsafePointer<UInt32>?, count: Int, out: UnsafeMutablePointer<Float>)

    /// Whether two rows hold the same.
    func isCopy(_ left: UnsafeRawPointer, _ right: UnsafeRawPointer) -> Bool
}

/// A compressed form of vectors. Its distances estimate `Metric`'s, up to a constant that is the same for all rows of one query: they put
/// rows in order, and only full precision gives scores.
public protocol RowCodec: RowScorer {
    /// How many of the nearest by estimate are worth measuring again when `limit` are wanted.
    func rescoreCount(limit: Int) -> Int

    /// Bytes of a row that `distances` reads, from its beginning.
    var walkedBytes: Int { get }

    /// Whether rows hold more than `distances` reads, for `refine`.
    var refines: Bool { get }

    /// Distances from a query (of `prepare`, in the same `scratch`) to rows with all that they hold. Only when `refines`.
    func refine(
        _ query: PreparedQuery, base: UnsafeRawPointer, rows: UnsafePointer<UInt32>, count: Int, scratch: UnsafeMutableRawPointer,
        out: UnsafeMutablePointer<Float>)

    /// Writes the row of a vector: finite float32 values as they came, as many as the field has dimensions. The row is 16-byte aligned.
    func encode(_ vector: UnsafePointer<Float>, at row: UnsafeMutableRawPointer, scratch: UnsafeMutableRawPointer)
}

extension RowCodec {
    public var walkedBytes: Int { strideBytes }
    public var refines: Bool { false }

    public func refine(
        _ query: PreparedQuery, base: UnsafeRawPointer, rows: UnsafePointer<UInt32>, count: Int, scratch: UnsafeMutableRawPointer,
        out: UnsafeMutablePointer<Float>
    ) {
        distances(query, base: base, rows: rows, count: count, out: out)
    }
}
