import CNeedletailMessages
import CProtobufC
import NeedletailCore

typealias IDMessage = Needletail__V1__PointId
typealias VectorMessage = Needletail__V1__Vector
typealias VectorEntry = Needletail__V1__Point__VectorsEntry

extension PointID {
    init(_ message: UnsafePointer<IDMessage>) throws(NeedletailError) {
        switch message.pointee.kind_case {
        case NEEDLETAIL__V1__POINT_ID__KIND_NUMBER: self = .number(message.pointee.number)
        case NEEDLETAIL__V1__POINT_ID__KIND_UUID:
            let uuid = message.pointee.uuid
            guard uuid.len == 16, let bytes = UnsafeRawPointer(uuid.data) else {
                throw NeedletailError(.invalidArgument, "a point id's uuid has 16 bytes, not \(uuid.len)")
            }
            self = .uuid(
                high: UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)),
                low: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
        case NEEDLETAIL__V1__POINT_ID__KIND_UUID_TEXT:
            let text = string(message.pointee.uuid_text)
            // Digits alone would be read as a number, and be another point than the UUID of the same digits.
            guard text.utf8.count >= 32, let id = PointID(text), case .uuid = id else {
                throw NeedletailError(
                    .invalidArgument,
                    "a point id's uuid_text is a UUID such as c0ffee00-0000-4000-8000-000000000001, not \"\(text)\"")
            }
            self = id
        default: throw NeedletailError(.invalidArgument, "a point id is empty; set number, uuid or uuid_text")
        }
    }

    init(required message: UnsafeMutablePointer<IDMessage>?) throws(NeedletailError) {
        guard let message else { throw NeedletailError(.invalidArgument, "a point has no id; set number, uuid or uuid_text") }
        try self.init(message)
    }

    static func list(
        _ pointers: UnsafeMutablePointer<UnsafeMutablePointer<IDMessage>?>?, _ count: Int
    ) throws(NeedletailError) -> [PointID] {
        try limited(count, Limits.idsPerRequest, "ids")
        return try messages(pointers, count) { id throws(NeedletailError) in try PointID(id) }
    }
}

extension VectorElement {
    /// "Unspecified" is f32.
    init(_ element: Needletail__V1__Element) throws(NeedletailError) {
        if element.rawValue == 0 {
            self = .f32
        } else if let raw = UInt8(exactly: element.rawValue), let known = VectorElement(rawValue: raw) {
            self = known
        } else {
            throw NeedletailError(
                .invalidArgument, "element \(element.rawValue) is unknown to this version; use F32, F16, U8 or BIT")
        }
    }

    var message: Needletail__V1__Element { Needletail__V1__Element(rawValue: UInt32(rawValue)) }

    /// What a number of bytes must be a multiple of.
    var strideBytes: Int {
        switch self {
        case .f32: 4
        case .f16: 2
        case .u8, .bit: 1
        }
    }
}

extension DenseVector {
    init(_ message: UnsafePointer<VectorMessage>) throws(NeedletailError) {
        let count = message.pointee.n_values
        if count > 0 {
            guard message.pointee.data.len == 0 else {
                throw NeedletailError(.invalidArgument, "a vector has values and data; give it as one of them")
            }
            // The struct's floats are the host's, which is little-endian on every platform this builds for.
            self.init(element: .f32, bytes: byteArray(message.pointee.values, count * 4))
        } else {
            let element = try VectorElement(message.pointee.element)
            guard message.pointee.data.len.isMultiple(of: element.strideBytes) else {
                throw NeedletailError(
                    .invalidArgument,
                    "a vector's data has \(message.pointee.data.len) bytes, which is no whole number of \(element)")
            }
            self.init(element: element, bytes: byteArray(message.pointee.data))
        }
    }
}

extension NamedVector {
    /// The entries of `map<string, Vector>`. All such maps have the same layout, whatever message they stand in.
    static func list<Entry>(
        _ entries: UnsafeMutablePointer<UnsafeMutablePointer<Entry>?>?, _ count: Int
    ) throws(NeedletailError) -> [NamedVector] {
        var vectors: [NamedVector] = []
        guard let entries, count > 0 else { return vectors }
        try limited(count, Limits.fieldsPerCollection, "vectors for a point")
        for index in 0..<count {
            guard let entry = entries[index] else { continue }
            let pair = UnsafeRawPointer(entry).assumingMemoryBound(to: VectorEntry.self)
            let field = string(pair.pointee.key)
            guard let vector = pair.pointee.value else {
                throw NeedletailError(
                    .invalidArgument, "the vector of field \"\(field)\" is missing; set it, or leave out the field")
            }
            // Of two entries with one key the later one counts.
            vectors.removeAll { $0.field == field }
            vectors.append(NamedVector(field: field, vector: try DenseVector(vector)))
        }
        return vectors
    }
}

extension MessageArena {
    func id(_ id: PointID) throws(NeedletailError) -> UnsafeMutablePointer<IDMessage> {
        let message = try make(IDMessage.self)
        switch id {
        case .number(let number):
            message.pointee.kind_case = NEEDLETAIL__V1__POINT_ID__KIND_NUMBER
            message.pointee.number = number
        case .uuid(let high, let low):
            let bytes = try array(16, of: UInt8.self)
            UnsafeMutableRawPointer(bytes).storeBytes(of: high.bigEndian, as: UInt64.self)
            UnsafeMutableRawPointer(bytes).storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
            message.pointee.kind_case = NEEDLETAIL__V1__POINT_ID__KIND_UUID
            message.pointee.uuid = ProtobufCBinaryData(len: 16, data: bytes)
        }
        return message
    }

    func vector(_ vector: DenseVector) throws(NeedletailError) -> UnsafeMutablePointer<VectorMessage> {
        let message = try make(VectorMessage.self)
        message.pointee.data = try bytes(vector.bytes)
        message.pointee.element = vector.element.message
        return message
    }

    /// The entries of a `map<string, Vector>`, as the type that the map's message wants.
    func vectors<Entry>(_ vectors: [NamedVector]) throws(NeedletailError) -> UnsafeMutablePointer<UnsafeMutablePointer<Entry>?>? {
        try list(vectors) { named throws(NeedletailError) in
            let entry = try make(VectorEntry.self)
            entry.pointee.key = try text(named.field)
            entry.pointee.value = try vector(named.vector)
            return UnsafeMutableRawPointer(entry).assumingMemoryBound(to: Entry.self)
        }
    }
}
