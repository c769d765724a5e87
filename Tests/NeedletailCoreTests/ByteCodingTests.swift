import NeedletailCore
import Testing

struct ByteCodingTests {
    private func sample() -> [UInt8] {
        var writer = ByteWriter()
        writer.u8(7)
        writer.u16(0x1234)
        writer.u32(0xdead_beef)
        writer.u64(0x0102_0304_0506_0708)
        writer.f32(-1.5)
        writer.f64(.pi)
        for value in [0, 1, 127, 128, 16_383, 16_384, UInt64.max] { writer.varint(value) }
        writer.bytes([1, 2, 3])
        writer.string("naïve")
        writer.raw([9, 9])
        return writer.bytes
    }

    private func read(_ bytes: [UInt8]) throws {
        var reader = ByteReader(bytes)
        #expect(try reader.u8() == 7)
        #expect(try reader.u16() == 0x1234)
        #expect(try reader.u32() == 0xdead_beef)
        #expect(try reader.u64() == 0x0102_0304_0506_0708)
        #expect(try reader.f32() == -1.5)
        #expect(try reader.f64() == .pi)
        for value in [0, 1, 127, 128, 16_383, 16_384, UInt64.max] { #expect(try reader.varint() == value) }
        #expect(try reader.bytes() == [1, 2, 3])
        #expect(try reader.string() == "naïve")
        #expect(try reader.raw(2) == [9, 9])
        try reader.expectEnd()
    }

    @Test func everyKindOfValueReturns() throws { try read(sample()) }

    @Test func integersAreLittleEndian() {
        var writer = ByteWriter()
        writer.u32(1)
        writer.patch(u32: 0x0403_0201, at: 0)
        #expect(writer.bytes == [1, 2, 3, 4])
    }

    @Test func everyPrefixIsRefused() {
        let whole = sample()
        for count in 0..<whole.count {
            var reader = ByteReader(whole, range: 0..<count)
            #expect(throws: NeedletailError.self, "prefix of \(count) bytes") {
                _ = try reader.raw(27)
                for _ in 0..<7 { _ = try reader.varint() }
                _ = try reader.bytes()
                _ = try reader.string()
                _ = try reader.raw(2)
            }
        }
    }

    @Test func hostileLengthsAreRefused() {
        var overlong = ByteReader([UInt8](repeating: 0xff, count: 11))
        #expect(throws: NeedletailError.self) { try overlong.varint() }
        var huge = ByteWriter()
        huge.varint(.max)
        var reader = ByteReader(huge.bytes, location: "file")
        #expect(throws: NeedletailError.self) { try reader.bytes() }
        var negative = ByteReader([1])
        #expect(throws: NeedletailError.self) { try negative.raw(-1) }
        var text = ByteReader([1, 0xff])
        #expect(throws: NeedletailError.self) { try text.string() }
    }
}
