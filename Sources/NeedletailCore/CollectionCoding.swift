/// The bytes in which a collection's definition is kept: in the cluster's metadata and beside each replica. The enclosing format
/// carries the version; those of this build write `format` and read every one from 1 on.
extension CollectionSpec {
    /// 1: of a field's index the graph only. 2: the whole index spec as text at the end of each field. 3: with write consistency.
    public static let format: UInt8 = 3

    public func encode(to writer: inout ByteWriter) {
        writer.string(name)
        writer.varint(UInt64(shardCount))
        writer.varint(UInt64(replicationFactor))
        switch durability {
        case .everyCommit: writer.varint(0)
        case .interval(let milliseconds): writer.varint(UInt64(milliseconds))
        }
        writer.u8(writeConsistency.rawValue)
        writer.varint(UInt64(minInSync))
        writer.varint(UInt64(fields.count))
        for field in fields {
            writer.string(field.name)
            writer.varint(UInt64(field.dimensions))
            writer.u8(field.metric.rawValue)
            writer.u8(field.element.rawValue)
            writer.varint(UInt64(field.graph.m))
            writer.varint(UInt64(field.graph.efConstruction))
            writer.u64(field.graph.seed)
            writer.string(field.index.description)
        }
    }

    /// - Parameter format: the one that the enclosing bytes were written with.
    /// - Throws: `dataLoss` when the bytes are damaged.
    public init(from reader: inout ByteReader, format: UInt8) throws(NeedletailError) {
        name = try reader.string()
        shardCount = try Self.small(&reader)
        replicationFactor = try Self.small(&reader)
        let interval = try Self.small(&reader)
        durability = interval == 0 ? .everyCommit : .interval(milliseconds: interval)
        (writeConsistency, minInSync) = (.allInSync, 1)
        if format >= 3 {
            guard let consistency = WriteConsistency(rawValue: try reader.u8()) else {
                throw NeedletailError(.dataLoss, "a stored collection definition is damaged: unknown write consistency")
            }
            (writeConsistency, minInSync) = (consistency, try Self.small(&reader))
        }
        fields = []
        for _ in 0..<(try reader.count()) { fields.append(try Self.field(&reader, format: format)) }
    }

    private static func field(_ reader: inout ByteReader, format: UInt8) throws(NeedletailError) -> VectorField {
        let name = try reader.string()
        let dimensions = try small(&reader)
        guard let metric = Metric(rawValue: try reader.u8()), let element = VectorElement(rawValue: try reader.u8()) else {
            throw NeedletailError(.dataLoss, "a stored collection definition is damaged: unknown metric or element")
        }
        let graph = GraphParameters(m: try small(&reader), efConstruction: try small(&reader), seed: try reader.u64())
        var index = IndexSpec()
        if format >= 2 {
            let text = try reader.string()
            do throws(NeedletailError) { index = try IndexSpec(text: text) } catch {
                throw NeedletailError(.dataLoss, "a stored collection definition is damaged or of a newer version: \(error.message)")
            }
        }
        // As it was when the collection was made, whatever a text that names no parameters means by now.
        index.graph = graph
        return VectorField(name: name, dimensions: dimensions, metric: metric, element: element, index: index)
    }

    private static func small(_ reader: inout ByteReader) throws(NeedletailError) -> Int {
        let value = try reader.varint()
        guard value <= UInt64(UInt32.max) else {
            throw NeedletailError(.dataLoss, "a stored collection definition is damaged: a number is too large")
        }
        return Int(value)
    }
}

/// What a node keeps beside each replica's data, so that it can serve again before it has heard from anyone.
extension ReplicaAssignment {
    /// That of the collection's definition in it. From 3 on with the shard's other replicas.
    private static let version = CollectionSpec.format

    public var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.u8(Self.version)
        writer.u64(shard.incarnation.value)
        writer.u32(shard.number)
        writer.u64(range.first)
        writer.u64(range.last)
        writer.u64(epoch)
        collection.encode(to: &writer)
        writer.u64(primary.value)
        writer.u64(version)
        writer.varint(UInt64(members.count))
        for member in members {
            writer.u64(member.node.value)
            writer.string(member.address)
            writer.u8(member.isInSync ? 1 : 0)
        }
        return writer.bytes
    }

    /// - Throws: `dataLoss` when the bytes are damaged, `failedPrecondition` when a newer version wrote them.
    public init(encoded bytes: [UInt8]) throws(NeedletailError) {
        var reader = ByteReader(bytes)
        let version = try reader.u8()
        guard (1...Self.version).contains(version) else {
            throw NeedletailError(
                .failedPrecondition, "a replica's assignment has format \(version), this build reads 1 to \(Self.version); upgrade this node")
        }
        shard = ShardID(incarnation: Incarnation(try reader.u64()), number: try reader.u32())
        let (first, last) = (try reader.u64(), try reader.u64())
        guard first <= last else { throw NeedletailError(.dataLoss, "a replica's assignment is damaged: its range runs backwards") }
        range = HashRange(first: first, last: last)
        epoch = try reader.u64()
        collection = try CollectionSpec(from: &reader, format: version)
        (primary, members, self.version) = (NodeID(0), [], 0)
        if version >= 3 {
            (primary, self.version) = (NodeID(try reader.u64()), try reader.u64())
            for _ in 0..<(try reader.count(minimumItemBytes: 10)) {
                members.append(Member(node: NodeID(try reader.u64()), address: try reader.string(), isInSync: try reader.u8() != 0))
            }
        }
        try reader.expectEnd()
    }
}
