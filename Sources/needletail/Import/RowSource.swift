import Foundation
import NeedletailClient
import NeedletailJSON

/// What is sent at once.
struct ImportBatch: Sendable {
    enum Content: Sendable {
        case operations([NamedOperation])
        case packed(PackedRows)
    }

    var content: Content
    /// Where each point stands in the file, as people count there: lines from 1, rows from 0.
    var places: [Int]

    var count: Int { places.count }

    var ids: [PointID] {
        switch content {
        case .operations(let operations): operations.map(\.id)
        case .packed(let rows): rows.ids.map { .number($0) }
        }
    }
}

/// Rows in the order of a file.
protocol RowSource: AnyObject {
    /// What a place in the file is called: "line" or "row".
    var placeName: String { get }
    /// 0 to 1.
    var fraction: Double { get }
    func skip(_ rows: Int) throws
    /// nil at the end.
    func next() throws -> ImportBatch?
}

/// About how many bytes a message carries: enough to be cheap, little enough that several are on the way.
private let batchBytes = 1 << 20
private let batchRows = 2000

/// `{"id": 1, "vectors": {...}, "payload": {...}}`, one a line.
final class JSONLinesSource: RowSource {
    private let reader: LineReader
    private let path: String
    private let field: String
    private let fields: [VectorField]

    init(_ path: String, field: String, fields: [VectorField]) throws {
        reader = try LineReader(path)
        self.path = path
        self.field = field
        self.fields = fields
    }

    var placeName: String { "line" }
    var fraction: Double { reader.sizeBytes == 0 ? 0 : Double(reader.bytesRead) / Double(reader.sizeBytes) }

    func skip(_ rows: Int) throws { for _ in 0..<rows where try reader.next() == nil { return } }

    func next() throws -> ImportBatch? {
        var operations: [NamedOperation] = []
        var lines: [Int] = []
        let start = reader.bytesRead
        while operations.count < batchRows, reader.bytesRead - start < batchBytes, let line = try reader.next() {
            do {
                operations.append(try PointJSON.operation(line, field: field, fields: fields))
                lines.append(reader.lineNumber)
            } catch {
                throw NeedletailError(error.code, "\(path), line \(reader.lineNumber): \(error.message)", cause: error)
            }
        }
        return operations.isEmpty ? nil : ImportBatch(content: .operations(operations), places: lines)
    }
}

/// The rows of a file of vectors, with ids counted or read, and payloads from a file beside it.
final class VectorFileSource: RowSource {
    private let file: VectorFile
    private let field: VectorField?
    private let fieldName: String
    private let ids: RowIDs
    private let payloads: LineReader?
    private var row = 0

    init(_ path: String, field: String, fields: [VectorField], idsFrom: String?, firstID: UInt64, payloads: String?) throws {
        file = try VectorFile(path)
        fieldName = field
        self.field = field.isEmpty ? fields.first : fields.first { $0.name == field }
        ids = try RowIDs(path: idsFrom, first: firstID)
        self.payloads = try payloads.map { try LineReader($0) }
        if let wanted = self.field?.dimensions, wanted != file.dimensions {
            throw NeedletailError(
                .invalidArgument,
                "\(path) has \(file.dimensions) dimensions and field \(self.field?.name ?? "") has \(wanted); choose another --field or collection"
            )
        }
        if file.rowCount > 0, firstID.addingReportingOverflow(UInt64(file.rowCount - 1)).overflow {
            throw NeedletailError(.invalidArgument, "--first-id \(firstID) leaves no room for \(file.rowCount) ids; choose a smaller one")
        }
        if let count = ids.count, count < file.rowCount {
            throw NeedletailError(
                .invalidArgument, "\(idsFrom ?? "") has \(count) ids for \(file.rowCount) rows; it needs one for each row")
        }
    }

    var placeName: String { "row" }
    var fraction: Double { file.rowCount == 0 ? 1 : Double(row) / Double(file.rowCount) }

    func skip(_ rows: Int) throws {
        row = min(rows, file.rowCount)
        if let payloads { for _ in 0..<row where try payloads.next() == nil { break } }
    }

    func next() throws -> ImportBatch? {
        let end = min(file.rowCount, row + max(1, min(batchRows, batchBytes / file.rowBytes)))
        guard row < end else { return nil }
        defer { row = end }
        let rows = file.rows(row..<end)
        let numbers = ids.numbers(row..<end)
        if payloads == nil, let numbers, field?.element != .bit {
            let packed = PackedRows(ids: numbers, field: fieldName, element: file.scalar.element, rows: rows)
            return ImportBatch(content: .packed(packed), places: Array(row..<end))
        }
        let rowBytes = rows.count / (end - row)
        var operations: [NamedOperation] = []
        for index in 0..<end - row {
            let vector = try vector(Array(rows[index * rowBytes..<(index + 1) * rowBytes]))
            operations.append(
                .upsert(
                    id: ids.id(row + index), vectors: [NamedVector(field: fieldName, vector: vector)],
                    payload: try payload(row + index)))
        }
        return ImportBatch(content: .operations(operations), places: Array(row..<end))
    }

    private func vector(_ bytes: [UInt8]) throws(NeedletailError) -> DenseVector {
        guard let field, field.element == .bit, file.scalar == .u8 else {
            return DenseVector(element: file.scalar.element, bytes: bytes)
        }
        return try DenseVector(bytes.map { Float($0) }, for: field)
    }

    private func payload(_ row: Int) throws(NeedletailError) -> [UInt8] {
        guard let payloads else { return [] }
        guard let line = try payloads.next() else {
            throw NeedletailError(.invalidArgument, "the payload file ends before row \(row); it needs a line for each row")
        }
        var reader = JSONReader(line)
        guard case .map(let entries) = try reader.value() else {
            throw NeedletailError(.invalidArgument, "line \(payloads.lineNumber) of the payload file is no JSON object")
        }
        try reader.end()
        return PayloadCoding.encode(entries)
    }
}

/// The ids of rows: counted from a first one, or read from a file of one id a line or a .npy of whole numbers.
struct RowIDs {
    private let first: UInt64
    private let list: [PointID]?

    init(path: String?, first: UInt64) throws {
        self.first = first
        guard let path else {
            list = nil
            return
        }
        list = path.hasSuffix(".npy") ? try Self.npy(path) : try Self.lines(path)
    }

    var count: Int? { list?.count }
    func id(_ row: Int) -> PointID { list?[row] ?? .number(first &+ UInt64(row)) }

    /// nil when one of them is no number.
    func numbers(_ rows: Range<Int>) -> [UInt64]? {
        var numbers: [UInt64] = []
        numbers.reserveCapacity(rows.count)
        for row in rows {
            guard case .number(let number) = id(row) else { return nil }
            numbers.append(number)
        }
        return numbers
    }

    private static func lines(_ path: String) throws -> [PointID] {
        let reader = try LineReader(path)
        var ids: [PointID] = []
        while let line = try reader.next() {
            guard let id = PointID(String(decoding: line, as: UTF8.self)) else {
                throw NeedletailError(
                    .invalidArgument, "\(path), line \(reader.lineNumber): an id is a whole number from 0, or a UUID")
            }
            ids.append(id)
        }
        return ids
    }

    private static func npy(_ path: String) throws -> [PointID] {
        let data = try Data(contentsOf: URL(fileURLWithPath: path), options: .alwaysMapped)
        let header = try NPYHeader(data, path: path)
        let size = ["<u8": 8, "<i8": 8, "<u4": 4, "<i4": 4][header.type]
        guard let size, header.shape.count == 1, data.count - header.end >= size * header.shape[0] else {
            throw NeedletailError(.invalidArgument, "\(path) must be a one-dimensional array of whole numbers of 4 or 8 bytes")
        }
        return try (0..<header.shape[0]).map { index in
            let value: Int64 = data.withUnsafeBytes { bytes in
                size == 8
                    ? bytes.loadUnaligned(fromByteOffset: header.end + index * 8, as: Int64.self)
                    : header.type == "<u4"
                        ? Int64(bytes.loadUnaligned(fromByteOffset: header.end + index * 4, as: UInt32.self))
                        : Int64(bytes.loadUnaligned(fromByteOffset: header.end + index * 4, as: Int32.self))
            }
            guard value >= 0 || header.type == "<u8" else {
                throw NeedletailError(.invalidArgument, "\(path) has the negative id \(value) in row \(index); ids start at 0")
            }
            return .number(UInt64(bitPattern: value))
        }
    }
}
