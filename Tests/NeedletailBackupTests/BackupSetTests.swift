import NeedletailCore
import NeedletailStorage
import NeedletailTestSupport
import Testing

@testable import NeedletailBackup

@Suite struct BackupSetTests {
    let folder: TemporaryDirectory
    let set: BackupSet

    init() {
        folder = TemporaryDirectory()
        set = BackupSet(FolderStorage(folder.path))
    }

    /// A backup of pieces with these contents.
    private func store(_ name: String, _ contents: [[UInt8]]) async throws {
        var shard = BackupShard(sequence: 1, epoch: 1)
        for bytes in contents {
            let piece = BackupPiece(of: bytes)
            try await set.storage.put(piece.key, bytes)
            shard.payloads.append(piece)
        }
        let index = BackupPiece(of: shard.encoded)
        try await set.storage.put(index.key, shard.encoded)
        try await set.store(BackupFormatTests.manifest(name, index: index))
    }

    @Test func onlyWhatNoOtherBackupNeedsIsRemoved() async throws {
        try await store("one", [[1], [2], [3]])
        try await store("two", [[2], [3], [4]])
        #expect(try await set.names() == ["one", "two"])
        let removed = try await set.remove("one")
        // Its first piece, and its index.
        #expect(removed.objects == 2)
        #expect(try await set.names() == ["two"])
        #expect(try await set.verify("two").problems.isEmpty)
        #expect(try await set.storage.get(BackupPiece(of: [1]).key) == nil)
        #expect(try await set.remove("one").objects == 0)
        _ = try await set.remove("two")
        #expect(try await set.storage.all("objects/").isEmpty)
    }

    @Test func damagedAndMissingObjectsAreRefusedAndFound() async throws {
        try await store("one", [[1], [2], [3]])
        let (damaged, missing) = (BackupPiece(of: [1]), BackupPiece(of: [2]))
        try await set.storage.put(damaged.key, [7])
        try await set.storage.delete(missing.key)
        for piece in [damaged, missing] {
            let error = await #expect(throws: NeedletailError.self) { _ = try await set.read(piece) }
            #expect(error?.code == .dataLoss && error?.location?.contains(piece.key) == true)
        }
        let found = try await set.verify("one")
        #expect(found.problems.count == 2 && found.objects == 4)
    }

    @Test func anotherClusterMayNotWrite() async throws {
        try await set.claim(cluster: 1)
        try await set.claim(cluster: 1)
        let error = await #expect(throws: NeedletailError.self) { try await set.claim(cluster: 2) }
        #expect(error?.code == .failedPrecondition)
    }

    @Test func aFullDiskLeavesNothingHalf() async throws {
        let disk = Disk { $0.kind == .write ? .error(28) : nil }
        let storage = FolderStorage(folder.path + "/full", disk: disk)
        let error = await #expect(throws: NeedletailError.self) { try await storage.put("objects/aa/one", [1, 2, 3]) }
        #expect(error?.code == .resourceExhausted)
        #expect(try await storage.get("objects/aa/one") == nil)
        #expect(try Disk.real.list(folder.path + "/full/objects/aa").isEmpty)
    }

    @Test func aFolderThatCannotBeMadeSaysSo() async throws {
        try Disk.real.replaceFile(folder.path + "/file", with: [1])
        let storage = FolderStorage(folder.path + "/file/below")
        let error = await #expect(throws: NeedletailError.self) { try await storage.put("objects/aa/one", [1]) }
        #expect(error?.message.contains("folder for backups cannot be used") == true)
    }
}
