/// A file of a folder that is copied to another machine.
public struct CopiedFile: Sendable, Hashable {
    /// From the folder on, with "/" between folders.
    public var name: String
    public var sizeBytes: UInt64

    public init(name: String, sizeBytes: UInt64) {
        self.name = name
        self.sizeBytes = sizeBytes
    }
}

/// A checkpoint of a replica that is held still to be copied.
public struct CopyDescription: Sendable, Hashable {
    public var id: UInt64
    /// The last record that is in it, and its epoch.
    public var sequence: UInt64
    public var epoch: UInt64
    public var files: [CopiedFile]

    public init(id: UInt64, sequence: UInt64, epoch: UInt64, files: [CopiedFile]) {
        self.id = id
        self.sequence = sequence
        self.epoch = epoch
        self.files = files
    }
}

/// A piece of a file on its way.
public struct CopyPiece: Sendable, Equatable {
    public var offset: UInt64
    public var bytes: [UInt8]
    /// CRC32C of the bytes.
    public var checksum: UInt32

    public init(offset: UInt64, bytes: [UInt8], checksum: UInt32) {
        self.offset = offset
        self.bytes = bytes
        self.checksum = checksum
    }
}
