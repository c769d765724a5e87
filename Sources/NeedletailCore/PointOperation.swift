/// One change to one point.
public enum PointOperation: Sendable, Equatable {
    /// Replaces the whole point, or makes it.
    case upsert(Point)
    case delete(PointID)
    /// Sets these keys of an existing point's payload and leaves the others.
    case setPayload(PointID, Payload)
    /// Replaces an existing point's payload.
    case overwritePayload(PointID, Payload)
    case deletePayloadKeys(PointID, [PayloadKey])
    /// Another operation, which is carried out only within a filter: it neither changes a point outside nor leaves one there. Decided when it is
    /// applied, in the order of the log, so by the same state on every replica. Never around another one of its kind.
    indirect case guarded(PayloadFilter, PointOperation)

    public var id: PointID {
        switch self {
        case .upsert(let point): point.id
        case .delete(let id), .setPayload(let id, _), .overwritePayload(let id, _), .deletePayloadKeys(let id, _): id
        case .guarded(_, let operation): operation.id
        }
    }

    /// The point that it writes; nil when it writes none. Setting it keeps a guard.
    public var upserted: Point? {
        get {
            switch self {
            case .upsert(let point): point
            case .guarded(_, let operation): operation.upserted
            default: nil
            }
        }
        set {
            guard let newValue else { return }
            if case .guarded(let filter, _) = self { self = .guarded(filter, .upsert(newValue)) } else { self = .upsert(newValue) }
        }
    }
}

/// What became of an operation.
public enum OperationOutcome: UInt8, Sendable {
    case applied = 1
    /// There was no such point; nothing changed.
    case notFound = 2
    /// The payload would have become larger than `Limits.payloadBytes`; nothing changed.
    case tooLarge = 3
    /// The filter that guards it forbids what it would do; nothing changed.
    case outside = 4
}

/// Operations that share a sequence number: after a crash all of them are there, or none is.
///
/// `encoded` is the form in which a batch is logged, sent between processes and replicated: version byte, count, operations. Version 2 has guarded
/// operations; a batch without any is of version 1.
public struct WriteBatch: Sendable, Equatable {
    public var operations: [PointOperation]

    public init(_ operations: [PointOperation]) { self.operations = operations }

    private static let version: UInt8 = 1
    private static let guardedVersion: UInt8 = 2

    public var encoded: [UInt8] {
        var writer = ByteWriter()
        let isGuarded = operations.contains { if case .guarded = $0 { true } else { false } }
        writer.u8(isGuarded ? Self.guardedVersion : Self.version)
        writer.varint(UInt64(operations.count))
        var last: PayloadFilter?
        for operation in operations {
            guard case .guarded(let filter, let inner) = operation else {
                Self.write(operation, to: &writer)
                continue
            }
            // All of a request have the same.
            if filter == last {
                writer.u8(7)
            } else {
                writer.u8(6)
                filter.write(to: &writer)
                last = filter
            }
            Self.write(inner, to: &writer)
        }
        return writer.bytes
    }

    /// - Throws: `dataLoss` when the bytes are not a batch, `unimplemented` when a newer version wrote them.
    public init(encoded bytes: [UInt8]) throws(NeedletailError) {
        var reader = ByteReader(bytes)
        let version = try reader.u8()
        guard version == Self.version || version == Self.guardedVersion else {
            throw NeedletailError(.unimplemented, "write batch has format \(version), this build reads \(Self.guardedVersion); upgrade this node")
        }
        operations = []
        let count = try reader.count()
        operations.reserveCapacity(min(count, Limits.pointsPerWrite))
        var filter: PayloadFilter?
        for _ in 0..<count {
            let kind = try reader.u8()
            switch kind {
            case 6: filter = try PayloadFilter(from: &reader)
            case 7: break
            default:
                operations.append(try Self.read(kind, &reader))
                continue
            }
            guard let filter else { throw NeedletailError(.dataLoss, "write batch is damaged: a guard has no filter") }
            operations.append(.guarded(filter, try Self.read(try reader.u8(), &reader)))
        }
        try reader.expectEnd()
    }

    private static func write(_ operation: PointOperation, to writer: inout ByteWriter) {
        switch operation {
        case .upsert(let point):
            writer.u8(1)
            write(point.id, to: &writer)
            writer.varint(UInt64(point.vectors.count))
            for entry in point.vectors {
                writer.varint(UInt64(entry.field))
                writer.u8(entry.vector.element.rawValue)
                writer.bytes(entry.vector.bytes)
            }
            writer.bytes(point.payload)
        case .delete(let id):
            writer.u8(2)
            write(id, to: &writer)
        case .setPayload(let id, let payload):
            writer.u8(3)
            write(id, to: &writer)
            writer.bytes(PayloadCoding.encode(payload))
        case .overwritePayload(let id, let payload):
            writer.u8(4)
            write(id, to: &writer)
            writer.bytes(PayloadCoding.encode(payload))
        case .deletePayloadKeys(let id, let keys):
            writer.u8(5)
            write(id, to: &writer)
            writer.varint(UInt64(keys.count))
            for key in keys { writer.string(key.text) }
        case .guarded: preconditionFailure("a guard around a guard")
        }
    }

    private static func read(_ kind: UInt8, _ reader: inout ByteReader) throws(NeedletailError) -> PointOperation {
        let id = try readID(&reader)
        switch kind {
        case 1:
            var vectors: [FieldVector] = []
            for _ in 0..<(try reader.count()) {
                let field = try reader.varint()
                guard field < UInt64(Limits.fieldsPerCollection), let element = VectorElement(rawValue: try reader.u8()) else {
                    throw NeedletailError(.dataLoss, "write batch is damaged: unknown vector field or element")
                }
                vectors.append(FieldVector(field: Int(field), vector: DenseVector(element: element, bytes: try reader.bytes())))
            }
            return .upsert(Point(id: id, vectors: vectors, payload: try reader.bytes()))
        case 2: return .delete(id)
        case 3: return .setPayload(id, try PayloadCoding.decode(try reader.bytes()))
        case 4: return .overwritePayload(id, try PayloadCoding.decode(try reader.bytes()))
        case 5:
            var keys: [PayloadKey] = []
            for _ in 0..<(try reader.count()) { keys.append(PayloadKey(try reader.string())) }
            return .deletePayloadKeys(id, keys)
        default: throw NeedletailError(.dataLoss, "write batch is damaged: unknown operation \(kind)")
        }
    }

    private static func write(_ id: PointID, to writer: inout ByteWriter) {
        switch id {
        case .number(let value):
            writer.u8(0)
            writer.u64(value)
        case .uuid(let high, let low):
            writer.u8(1)
            writer.u64(high)
            writer.u64(low)
        }
    }

    private static func readID(_ reader: inout ByteReader) throws(NeedletailError) -> PointID {
        switch try reader.u8() {
        case 0: .number(try reader.u64())
        case 1: .uuid(high: try reader.u64(), low: try reader.u64())
        default: throw NeedletailError(.dataLoss, "write batch is damaged: unknown kind of id")
        }
    }
}
