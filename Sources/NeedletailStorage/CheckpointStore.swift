import NeedletailCore
import Synchronization

/// The checkpoints of one replica, in a directory: `MANIFEST` and the slab files it refers to.
///
/// A checkpoint writes only slabs that changed, into the file of a new generation; slabs that did not stay where they are. The
/// manifest is renamed into place last: until then, and after any failure or crash, the previous checkpoint is the one that counts.
/// A generation of which less than half is still used gives its remaining slabs to the new one and is deleted, so the files hold at
/// most about twice the bytes in use.
///
/// `@unchecked Sendable`: one thread at a time loads or writes; `link` may run beside it, for which the manifest's changes take `linking`.
public final class CheckpointStore: @unchecked Sendable {
    public let directory: String
    /// The checkpoint in place; nil before the first.
    public private(set) var manifest: Manifest? {
        get { current.withLock { $0 } }
        set { current.withLock { $0 = newValue } }
    }
    private let current: Mutex<Manifest?>
    /// Limits a checkpoint's writing so that searches and the log keep their share of the disk; nil does not.
    public var bytesPerSecond: Int?
    let disk: Disk
    /// Held while the manifest and the files that it refers to change, and while they are linked.
    private let linking = Mutex(())
    private var manifestPath: String { directory + "/MANIFEST" }

    private init(directory: String, manifest: Manifest?, disk: Disk) {
        self.directory = directory
        current = Mutex(manifest)
        self.disk = disk
    }

    /// Opens the directory, creating it when missing, and removes what a crash left behind.
    ///
    /// - Throws: `dataLoss` for a damaged manifest, `failedPrecondition` for one of a newer format version.
    public static func open(directory: String, disk: Disk = .real) throws -> CheckpointStore {
        try disk.createDirectory(directory)
        let path = directory + "/MANIFEST"
        let manifest = disk.exists(path) ? try Manifest(decoding: readWhole(path, disk), path: path) : nil
        let store = CheckpointStore(directory: directory, manifest: manifest, disk: disk)
        try store.removeUnreferenced()
        return store
    }

    private static func readWhole(_ path: String, _ disk: Disk) throws -> [UInt8] {
        let file = try disk.open(path, .read)
        var bytes = [UInt8](repeating: 0, count: try file.sizeBytes())
        let count = try bytes.withUnsafeMutableBytes { try file.read(into: $0, at: 0) }
        return count == bytes.count ? bytes : Array(bytes[..<count])
    }

    /// Bytes of all files of the store.
    public func sizeBytes() throws -> Int {
        try disk.list(directory).reduce(0) { try $0 + disk.sizeBytes(directory + "/" + $1) }
    }

    /// Begins to save the arrays as of their `beginCheckpoint`, which the caller has called on each.
    ///
    /// `arrays` are all arrays of the replica; one that was saved before and is not given is dropped. One write at a time.
    public func begin(sequence: UInt64, epoch: UInt64, metadata: [UInt8], arrays: [SlabArray]) -> CheckpointWrite {
        CheckpointWrite(store: self, sequence: sequence, epoch: epoch, metadata: metadata, arrays: arrays)
    }

    /// Saves the arrays in one go: `begin`, all of `advance`, `finish`.
    public func write(
        sequence: UInt64, epoch: UInt64, metadata: [UInt8], arrays: [SlabArray], beforePublishing: () throws -> Void = {}
    ) throws {
        let write = begin(sequence: sequence, epoch: epoch, metadata: metadata, arrays: arrays)
        _ = try write.advance()
        try write.finish(beforePublishing: beforePublishing)
    }

    func publish(_ next: Manifest) throws {
        let temporary = manifestPath + ".tmp"
        let file = try disk.open(temporary, .createOrTruncate)
        try file.write(next.encoded(), at: 0)
        try file.sync()
        try linking.withLock { _ in
            try disk.rename(temporary, to: manifestPath)
            manifest = next
        }
        try disk.syncDirectory(directory)
    }

    /// Gives the checkpoint in place a second name for each of its files in `target`, an empty or missing directory on the same file
    /// system: a copy that costs no space and that later checkpoints leave alone. Its manifest comes last.
    ///
    /// - Throws: `failedPrecondition` when there is no checkpoint; what the disk said.
    /// - Returns: the sequence and epoch that it is of.
    @discardableResult public func link(to target: String) throws -> (sequence: UInt64, epoch: UInt64) {
        try linking.withLock { _ in try linkFiles(to: target) }
    }

    private func linkFiles(to target: String) throws -> (sequence: UInt64, epoch: UInt64) {
        guard let manifest else {
            throw NeedletailError(.failedPrecondition, "There is no checkpoint yet; write one first.", location: directory)
        }
        try disk.createDirectory(target)
        for generation in manifest.liveBytes().keys.sorted() {
            let name = SlabFile.name(generation)
            try disk.hardLink(directory + "/" + name, to: target + "/" + name)
        }
        try disk.hardLink(manifestPath, to: target + "/MANIFEST")
        try disk.syncDirectory(target)
        return (manifest.sequence, manifest.epoch)
    }

    /// Deletes slab files that the manifest does not refer to, and a manifest that was never finished.
    func removeUnreferenced() throws { try linking.withLock { _ in try removeFiles() } }

    private func removeFiles() throws {
        let live = manifest?.liveBytes() ?? [:]
        for name in try disk.list(directory) {
            let isStale = SlabFile.generation(name: name).map { live[$0] == nil } ?? (name == "MANIFEST.tmp")
            if isStale { try disk.remove(directory + "/" + name) }
        }
    }
}
