import NeedletailCore
import NeedletailStorage
import NeedletailTestSupport
import Testing

@testable import NeedletailBackup

@Suite struct BackupFormatTests {
    static let index = BackupPiece(of: [1, 2, 3])

    static func manifest(_ name: String = "one", index: BackupPiece = index) -> BackupManifest {
        let spec = CollectionSpec(name: "books", fields: [VectorField(name: "v", dimensions: 4, metric: .l2)], shardCount: 2)
        let shards = HashRange.dividing(into: 2).enumerated().map { number, range in
            BackupManifest.Shard(
                number: UInt32(number), range: range, cut: 9, epoch: 2, node: NodeID(5), index: index, pieces: 4, bytes: 5, newPieces: 6, newBytes: 7,
                heldMicroseconds: 8)
        }
        return BackupManifest(
            operation: 3, name: name, collection: spec, incarnation: Incarnation(4), models: [FieldModel(field: 0, version: 1, bytes: [9])],
            createdMilliseconds: 1_700_000_000_000, software: "0.1.0", shards: shards)
    }

    static func shard() -> BackupShard {
        var shard = BackupShard(sequence: 12, epoch: 3)
        shard.metadata = [1, 2]
        shard.arrays = [.init(name: "points", strideBytes: 32, slotCount: 9, slabs: [index, nil])]
        (shard.payloadSequence, shard.payloads) = (13, [index])
        shard.files = [.init(name: "codec-0-1", pieces: [index])]
        shard.records = [index, index]
        return shard
    }

    @Test func whatIsEncodedComesBack() throws {
        #expect(try BackupManifest(encoded: Self.manifest().encoded, location: "m") == Self.manifest())
        #expect(try BackupShard(encoded: Self.shard().encoded, location: "s") == Self.shard())
        let records = (1...9).map { LogRecord(sequence: UInt64($0), epoch: 2, payload: [UInt8](repeating: 1, count: $0)) }
        #expect(try LogRecords.decoded(LogRecords.encoded(records)).map(\.payload) == records.map(\.payload))
    }

    @Test func recordsKeepTheirGroups() {
        let records = (1...5_000).map { LogRecord(sequence: UInt64($0), epoch: 2, payload: [UInt8](repeating: 1, count: 300)) }
        func groups(_ records: some Sequence<LogRecord>) -> Set<[UInt8]> { Set(LogRecords.grouped(Array(records)).map(LogRecords.encoded)) }
        #expect(LogRecords.grouped(records).flatMap { $0 }.map(\.sequence) == records.map(\.sequence))
        let before = groups(records.prefix(4_000))
        #expect(before.count > 3)
        #expect(before.subtracting(groups(records)).count <= 1)
        #expect(before.subtracting(groups(records.dropFirst(100))).count <= 2)
    }

    /// Every byte: whatever is changed, it is refused.
    @Test func damageIsRefused() throws {
        for bytes in [Self.manifest().encoded, Self.shard().encoded] {
            for index in bytes.indices {
                var damaged = bytes
                damaged[index] ^= 0x41
                #expect(throws: NeedletailError.self) {
                    if bytes.starts(with: BackupManifest.magic) {
                        _ = try BackupManifest(encoded: damaged, location: "m")
                    } else {
                        _ = try BackupShard(encoded: damaged, location: "s")
                    }
                }
            }
            for count in 0..<bytes.count {
                #expect(throws: NeedletailError.self) { _ = try BackupManifest(encoded: Array(bytes.prefix(count)), location: "m") }
            }
        }
    }

    /// A version that this build does not know, with a right checksum.
    static func newer(_ bytes: [UInt8]) -> [UInt8] {
        var body = Array(bytes.dropLast(4))
        body[8] = 2
        var writer = ByteWriter()
        writer.raw(body)
        writer.u32(crc32c(body))
        return writer.bytes
    }

    @Test func aNewerFormatIsRefusedByName() async throws {
        let error = #expect(throws: NeedletailError.self) { _ = try BackupManifest(encoded: Self.newer(Self.manifest().encoded), location: "m") }
        #expect(error?.code == .unimplemented)
        #expect(error?.message.contains("format 2") == true && error?.message.contains("newer version") == true)
        let folder = TemporaryDirectory()
        let set = BackupSet(FolderStorage(folder.path))
        try await set.storage.put("backups/one", Self.newer(Self.manifest().encoded))
        await #expect(throws: NeedletailError.self) { _ = try await set.manifest("one") }
        // What it needs is not known: then nothing is removed.
        try await set.storage.put(BackupPiece(of: [5]).key, [5])
        await #expect(throws: NeedletailError.self) { _ = try await set.remove("two") }
        #expect(try await set.storage.get(BackupPiece(of: [5]).key) == [5])
    }

    @Test func targets() throws {
        #expect(try BackupTarget("file:///a/b/") == .folder("/a/b"))
        #expect(try BackupTarget("s3://bucket").text == "s3://bucket")
        #expect(try BackupTarget("s3://bucket/a/b//").text == "s3://bucket/a/b")
        for wrong in ["", "/a", "file://a", "file:///", "file:///a/../b", "s3://", "s3:///x", "s3://b/../c", "s3://b u", "http://x/y", "file://host/a"] {
            #expect(throws: NeedletailError.self, "\(wrong)") { _ = try BackupTarget(wrong) }
        }
        let error = #expect(throws: NeedletailError.self) { _ = try BackupTarget("s3://b/c").open(environment: ["AWS_SECRET_ACCESS_KEY": "hidden"]) }
        #expect(error?.message.contains("AWS_ACCESS_KEY_ID") == true && error?.description.contains("hidden") == false)
    }

    /// "Example: GET Object" of "Signature Calculations for the Authorization Header" in the Amazon S3 API Reference.
    @Test func signsAsAmazonDoes() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        let signature = Signature(
            method: "GET", path: "/test.txt",
            headers: [
                ("host", "examplebucket.s3.amazonaws.com"), ("range", "bytes=0-9"), ("x-amz-content-sha256", empty), ("x-amz-date", "20130524T000000Z"),
            ], bodyHash: empty)
        let time = SigningTime(seconds: 1_369_353_600)
        #expect(time.stamp == "20130524T000000Z")
        let text = signature.authorization(
            accessKey: "AKIAIOSFODNN7EXAMPLE", secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", region: "us-east-1", time: time)
        #expect(text.hasSuffix("Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"))
        // "Example: GET Bucket (List Objects)".
        let list = Signature(
            method: "GET", path: "/", query: [("prefix", "J"), ("max-keys", "2")],
            headers: [("host", "examplebucket.s3.amazonaws.com"), ("x-amz-content-sha256", empty), ("x-amz-date", "20130524T000000Z")], bodyHash: empty)
        #expect(
            list.authorization(accessKey: "AKIAIOSFODNN7EXAMPLE", secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", region: "us-east-1", time: time)
                .hasSuffix("Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"))
    }

    @Test func readsWhatAServiceSays() {
        let page = XMLText(Array("<R><Contents><Key>a&amp;b</Key><Size>3</Size></Contents><Contents><Key>c</Key></Contents><IsTruncated>true</IsTruncated></R>".utf8))
        #expect(page.all("Contents").map { XMLText($0).first("Key") } == ["a&b", "c"])
        #expect(page.first("IsTruncated") == "true" && page.first("Missing") == nil && XMLText([]).first("Key") == nil)
    }
}
