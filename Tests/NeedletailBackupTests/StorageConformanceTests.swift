import NeedletailCore
import NeedletailStorage
import NeedletailTestSupport
import Synchronization
import Testing

@testable import NeedletailBackup

/// What every place for backups does. S3 runs where `NEEDLETAIL_PYTHON` names a Python that has moto.
@Suite struct StorageConformanceTests {
    struct Place: Sendable, CustomStringConvertible {
        let description: String
        let open: @Sendable (_ folder: String) async throws -> any BackupStorage
    }

    static let places: [Place] = {
        var places = [Place(description: "folder") { FolderStorage($0 + "/backups") }]
        if let python = S3Process.python {
            // One service for all tests.
            let service = Task { try await S3Process(python: python) }
            places.append(
                Place(description: "S3") { _ in
                    S3Storage(
                        bucket: "conformance", prefix: "p\(UInt64.random(in: 0 ... .max))/q", try await service.value.access, partBytes: 5 << 20)
                })
        }
        return places
    }()

    @Test(arguments: places) func whatIsPutIsThere(_ place: Place) async throws {
        let folder = TemporaryDirectory()
        let storage = try await place.open(folder.path)
        #expect(try await storage.get("objects/ab/cd") == nil)
        #expect(try await !storage.exists("objects/ab/cd"))
        try await storage.delete("objects/ab/cd")
        for bytes in [[], [1, 2, 3], (0..<300_000).map { UInt8(truncatingIfNeeded: $0) }] as [[UInt8]] {
            try await storage.put("objects/ab/cd", bytes)
            #expect(try await storage.get("objects/ab/cd") == bytes)
            #expect(try await storage.exists("objects/ab/cd"))
        }
        try await storage.delete("objects/ab/cd")
        #expect(try await storage.get("objects/ab/cd") == nil)
    }

    @Test(arguments: places) func aLargeObjectComesBackWhole(_ place: Place) async throws {
        let folder = TemporaryDirectory()
        let storage = try await place.open(folder.path)
        var generator = SeededGenerator(seed: 3)
        let block = (0..<4_096).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
        // More than two parts, and not a whole number of them.
        let bytes = [UInt8]((0..<2_900).map { block + [UInt8(truncatingIfNeeded: $0)] }.joined())
        try await storage.put("large", bytes)
        let read = try #require(try await storage.get("large"))
        #expect(Checksum256.of(read) == Checksum256.of(bytes))
    }

    @Test(arguments: places) func listsWhatIsBelowAPrefix(_ place: Place) async throws {
        let folder = TemporaryDirectory()
        let storage = try await place.open(folder.path)
        #expect(try await storage.all("objects/").isEmpty)
        // S3 lists a thousand a page.
        let count = 1_203
        try await inParallel(Array(0..<count)) { try await storage.put("objects/\($0 % 7)/\($0)", [UInt8](repeating: 7, count: $0 % 5)) }
        try await storage.put("backups/One-1.b_c", [1])
        let found = try await storage.all("objects/")
        #expect(found == Dictionary(uniqueKeysWithValues: (0..<count).map { ("objects/\($0 % 7)/\($0)", UInt64($0 % 5)) }))
        #expect(try await storage.all("backups/") == ["backups/One-1.b_c": 1])
        #expect(try await storage.all("") .count == count + 1)
    }

    @Test(arguments: places) func putsOfOneKeyAtOnceLeaveOneOfThem(_ place: Place) async throws {
        let folder = TemporaryDirectory()
        let storage = try await place.open(folder.path)
        let versions = (0..<20).map { [UInt8](repeating: UInt8($0), count: 50_000) }
        try await inParallel(versions) { try await storage.put("objects/aa/one", $0) }
        let read = try #require(try await storage.get("objects/aa/one"))
        #expect(versions.contains(read))
        #expect(try await storage.all("objects/").count == 1)
    }
}

extension BackupStorage {
    func all(_ prefix: String) async throws -> [String: UInt64] {
        let found = Mutex<[String: UInt64]>([:])
        try await list(prefix) { page in found.withLock { found in for one in page { found[one.key] = one.sizeBytes } } }
        return found.withLock { $0 }
    }
}
