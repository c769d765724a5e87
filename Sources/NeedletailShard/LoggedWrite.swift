internal import NeedletailCore

/// A write as it stands in the log: a batch, its name, and how far the writes before it were known to be committed.
///
///     format 2 = u8 2, u64 committed sequence, u64 operation high, u64 operation low, WriteBatch
///
/// Format 3 is the same of a part of a split shard: what concerns that part of a record of the whole, which may be nothing.
/// Format 4 is that of a merged shard: a record of a parent, whose number (u32) and sequence (u64) stand before the batch.
/// Format 1 is a batch alone, which begins with its own format, 1.
struct LoggedWrite {
    /// Every record up to here was on the disks of all in-sync replicas when this one was logged.
    var committed: UInt64
    var operation: OperationID?
    /// A `WriteBatch`, encoded.
    var batch: [UInt8]

    /// Without operations it is no mark: there were some for other parts of a shard that was split, or it was one of a parent's.
    var isPart: Bool
    /// The parent of a merged shard that it came of, and its sequence there.
    var source: Lineage.Parent?

    private static let format: UInt8 = 2
    private static let partFormat: UInt8 = 3
    private static let mergedFormat: UInt8 = 4

    init(committed: UInt64, operation: OperationID?, batch: [UInt8], isPart: Bool = false, source: Lineage.Parent? = nil) {
        self.isPart = isPart || source != nil
        self.source = source
        self.committed = committed
        self.operation = operation
        self.batch = batch
    }

    var encoded: [UInt8] {
        var writer = ByteWriter(capacity: batch.count + 37)
        writer.u8(source != nil ? Self.mergedFormat : isPart ? Self.partFormat : Self.format)
        writer.u64(committed)
        writer.u64(operation?.high ?? 0)
        writer.u64(operation?.low ?? 0)
        if let source {
            writer.u32(source.number)
            writer.u64(source.sequence)
        }
        writer.raw(batch)
        return writer.bytes
    }

    /// - Throws: `dataLoss` for bytes that are cut off; a batch of a newer version is refused where it is decoded.
    init(encoded bytes: [UInt8]) throws(NeedletailError) {
        guard let format = bytes.first, (Self.format...Self.mergedFormat).contains(format) else {
            self.init(committed: 0, operation: nil, batch: bytes)
            return
        }
        var reader = ByteReader(bytes)
        try reader.skip(1)
        let committed = try reader.u64()
        let (high, low) = (try reader.u64(), try reader.u64())
        let source = format == Self.mergedFormat ? Lineage.Parent(number: try reader.u32(), sequence: try reader.u64()) : nil
        self.init(
            committed: committed, operation: (high, low) == (0, 0) ? nil : OperationID(high: high, low: low),
            batch: try reader.raw(reader.remaining), isPart: format == Self.partFormat, source: source)
    }
}
