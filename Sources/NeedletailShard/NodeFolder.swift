internal import NeedletailCore
internal import NeedletailStorage
internal import Synchronization

/// The data folder of a shard worker: whose it is and to which cluster it belongs. Claimed for one process at a time.
public final class NodeFolder: Sendable {
    public let path: String
    /// Made when the folder was first used.
    public let nodeID: UInt64
    private let lock: DirectoryLock
    private let cluster: Mutex<UInt64>
    private let disk = Disk.real
    private static let version: UInt8 = 1

    /// Opens or makes the folder.
    /// - Throws: `failedPrecondition` when another process has it open or a newer version made it; `dataLoss` when its identity is
    ///   damaged.
    public init(_ path: String) throws {
        self.path = path
        lock = try disk.lock(path)
        if let bytes = try disk.readChecked(path + "/node") {
            var reader = ByteReader(bytes)
            let version = try reader.u8()
            guard version == Self.version else {
                throw NeedletailError(
                    .failedPrecondition, "the data folder has format \(version), this build reads \(Self.version); upgrade this node", location: path)
            }
            nodeID = try reader.u64()
            cluster = Mutex(try reader.u64())
        } else {
            guard try disk.list(path + "/replicas").isEmpty else {
                throw NeedletailError(
                    .dataLoss, "the data folder has replicas and no identity: put its file \"node\" back from a copy", location: path)
            }
            nodeID = UInt64.random(in: 1...UInt64.max)
            cluster = Mutex(0)
            try save(cluster: 0)
        }
    }

    /// The cluster the folder's data belong to; 0 before it joined one.
    public var clusterID: UInt64 { cluster.withLock { $0 } }

    /// Remembers the cluster on first contact.
    /// - Throws: `failedPrecondition` when the folder belongs to another one.
    public func join(_ id: UInt64) throws {
        let current = clusterID
        if current == id { return }
        guard current == 0 else {
            throw NeedletailError(
                .failedPrecondition, "this data folder belongs to another cluster; give the worker its own coordinator or another folder", location: path)
        }
        try save(cluster: id)
        cluster.withLock { $0 = id }
    }

    private func save(cluster: UInt64) throws {
        var writer = ByteWriter()
        writer.u8(Self.version)
        writer.u64(nodeID)
        writer.u64(cluster)
        try disk.replaceChecked(path + "/node", with: writer.bytes)
    }
}
