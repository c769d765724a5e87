internal import NeedletailCore

/// A write as it stands in the log: a batch, its name, and how far the writes before it were known to be committed.
///
///     format 2 = u8 2, u64 committed sequence, u64 operation high, u64 operation low, WriteBatch
///
/// Format 3 is the same of a part of a split shard: what concerns that part of a record of the whole, which may be nothing.
/// Format 1 is a batch alone, which begins with its own format, 1.
struct LoggedWrite {
    /// Every record up to here was on the disks of all in-sync replicas when this one was logged.
    var committed: UInt64
    var operation: OperationID?
    /// A `WriteBatch`, encoded.
    var batch: [UInt8]

    /// Without operations it is no mark: there were some for other parts of a shard that was split.
    var isPart: Bool

    private static let format: UInt8 = 2
    private static let partFormat: UInt8 = 3

    init(committed: UInt64, operation: OperationID?, batch: [UInt8], isPart: Bool = false) {
        self.isPart = isPart
        self.committed = committed
        self.operation = operation
        self.batch = batch
    }

    var encoded: [UInt8] {
        var writer = ByteWriter(capacity: batch.count + 25)
        writer.u8(isPart ? Self.partFormat : Self.format)
        writer.u64(committed)
        writer.u64(operation?.high ?? 0)
        writer.u64(operation?.low ?? 0)
        writer.raw(batch)
        return writer.bytes
    }

    /// - Throws: `dataLoss` for bytes that are cut off; a batch of a newer version is refused where it is decoded.
    init(encoded bytes: [UInt8]) throws(NeedletailError) {
        guard bytes.first == Self.format || bytes.first == Self.partFormat else {
            self.init(committed: 0, operation: nil, batch: bytes)
            return
        }
        var reader = ByteReader(bytes)
        try reader.skip(1)
        let committed = try reader.u64()
        let (high, low) = (try reader.u64(), try reader.u64())
        self.init(
            committed: committed, operation: (high, low) == (0, 0) ? nil : OperationID(high: high, low: low),
            batch: try reader.raw(reader.remaining), isPart: bytes.first == Self.partFormat)
    }
}
