internal import NeedletailCore
internal import NeedletailStorage

/// A value as the embedded store keeps it: its revision (8 bytes), whether it is bound to a lease (1 byte), its bytes.
struct StoredValue: Equatable {
    var revision: UInt64
    var isLeased: Bool
    var bytes: [UInt8]

    init(revision: UInt64, isLeased: Bool, bytes: [UInt8]) {
        self.revision = revision
        self.isLeased = isLeased
        self.bytes = bytes
    }

    init(_ stored: [UInt8]) throws(NeedletailError) {
        guard stored.count >= 9, stored[8] <= 1 else {
            throw NeedletailError(.dataLoss, "the coordinator's metadata are damaged: a value has no revision; put its data folder back from a copy")
        }
        var reader = ByteReader(Array(stored.prefix(8)))
        revision = try reader.u64()
        isLeased = stored[8] == 1
        bytes = Array(stored.dropFirst(9))
    }

    var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.u64(revision)
        writer.u8(isLeased ? 1 : 0)
        return writer.bytes + bytes
    }

    func entry(_ key: String) -> MetadataEntry { MetadataEntry(key: key, value: bytes, revision: revision) }

    /// Of the file as a whole. 1, which did not say so: bare values. 2: values with revisions.
    private static let format: UInt64 = 2

    /// Brings an older store to this format, in one transaction, and removes what was bound to the leases of a former process.
    /// - Throws: `failedPrecondition` when a newer version wrote it.
    static func prepare(_ store: LMDBKeyValueStore, location: String) throws {
        _ = try store.update { update -> Bool? in
            let entries = try update.entries()
            let found = try update.format() ?? (entries.isEmpty ? 0 : 1)
            guard found <= format else {
                throw NeedletailError(
                    .failedPrecondition, "the coordinator's metadata have format \(found), this build reads 1 to \(format); upgrade the coordinator",
                    location: location)
            }
            if found < format { try update.setFormat(format) }
            if found == 1 {
                for (key, bytes) in entries { try update.put(key, StoredValue(revision: update.revision, isLeased: false, bytes: bytes).encoded) }
                return true
            }
            let leased = try entries.filter { try StoredValue($0.value).isLeased }
            for (key, _) in leased { try update.delete(key) }
            return leased.isEmpty ? nil : true
        }
    }
}
