import NeedletailCore
import NeedletailTestSupport
import Testing

@testable import NeedletailStorage

@Suite struct CheckpointPartsTests {
    @Test func payloadsComeInChunksThatKeepTheirPlaces() throws {
        let folder = TemporaryDirectory()
        let store = PayloadStore(path: folder.path + "/a.lmdb")
        defer { store.close() }
        func key(_ number: Int) -> [UInt8] { [UInt8(number >> 16 & 255), UInt8(number >> 8 & 255), UInt8(number & 255)] }
        func value(_ number: Int) -> [UInt8] { [UInt8](repeating: UInt8(number & 255), count: 100) }
        func chunks() throws -> [[UInt8]] {
            var (found, last): ([[UInt8]], [UInt8]?) = ([], nil)
            while let chunk = try store.chunk(after: last) { (found, last) = (found + [chunk.bytes], chunk.last) }
            return found
        }
        #expect(try chunks().isEmpty)
        try store.commit(sequence: 1, changes: (0..<20_000).map { (key: key($0 * 3), value: value($0) as [UInt8]?) })
        let before = try chunks()
        #expect(before.count > 4)
        // One that is new, in the middle, and one that goes.
        try store.commit(sequence: 2, changes: [(key: key(30_001), value: value(1)), (key: key(300), value: nil)])
        let after = try chunks()
        #expect(Set(after).subtracting(before).count <= 4)
        let copy = PayloadStore(path: folder.path + "/b.lmdb")
        defer { copy.close() }
        for chunk in after { try copy.commit(sequence: 2, changes: try PayloadStore.entries(of: chunk)) }
        #expect(try copy.count() == 20_000 && copy.get(key(30_001)) == value(1) && copy.get(key(300)) == nil)
    }

    @Test func aCheckpointIsPutTogetherFromItsSlabs() throws {
        let folder = TemporaryDirectory()
        var images: [[UInt8]?] = (0..<5).map { [UInt8](repeating: UInt8($0), count: SlabArray.slabBytes) }
        images[2] = nil
        let slots = 5 * SlabArray.slabBytes / 64
        let description = CheckpointDescription(
            sequence: 9, epoch: 2, metadata: [1, 2, 3], arrays: [.init(name: "a", strideBytes: 64, slotCount: slots, slabCount: 5)])
        var builder = try CheckpointBuilder(description, directory: folder.path + "/c", disk: .real)
        for (slab, image) in images.enumerated() { if let image { try builder.add(image, slab: slab, of: 0) } }
        #expect(throws: NeedletailError.self) { try builder.add([1], slab: 5, of: 0) }
        #expect(throws: NeedletailError.self) { try builder.add([UInt8](repeating: 0, count: SlabArray.slabBytes + 1), slab: 0, of: 0) }
        try builder.finish()
        let reader = try CheckpointReader(directory: folder.path + "/c", disk: .real)
        #expect(reader.description == description)
        for slab in 0..<5 { #expect(try reader.image(slab: slab, of: 0) == images[slab]) }
        let store = try CheckpointStore.open(directory: folder.path + "/c")
        #expect(store.manifest?.sequence == 9)
        var impossible = description
        impossible.arrays[0].slotCount = .max
        #expect(throws: NeedletailError.self) { _ = try CheckpointBuilder(impossible, directory: folder.path + "/d", disk: .real) }
    }
}
