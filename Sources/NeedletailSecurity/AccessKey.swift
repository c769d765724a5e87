internal import Crypto
public import NeedletailCore
internal import NeedletailTelemetry

/// An API key as the metadata have it, under `keys/ID`: all that it allows, and the hash of what its holder sends.
///
/// The hash is a single SHA-256: keys are 256 random bits, which nobody finds by trying, so slowing the attempts down, as one does for passwords,
/// would only slow the requests down.
public struct AccessKey: Sendable, Hashable {
    public var id: String
    public var hash: [UInt8]
    public var caller: CallerInfo
    public var createdMilliseconds: UInt64

    private static let format: UInt8 = 1
    static let prefix = "ndl_"
    private static let idLetters = 12
    private static let alphabet = Array("0123456789abcdefghjkmnpqrstvwxyz".utf8)

    /// A new one, and the text that is the key: `ndl_`, the id, `_`, 256 bits in base64url.
    public static func make(_ caller: CallerInfo) -> (text: String, key: AccessKey) {
        var random = SystemRandomNumberGenerator()
        let id = String(decoding: (0..<idLetters).map { _ in alphabet[Int(random.next() & 31)] }, as: UTF8.self)
        let secret = (0..<32).map { _ in UInt8(truncatingIfNeeded: random.next() as UInt64) }
        let text = "\(prefix)\(id)_\(Base64URL.encode(secret))"
        return (text, AccessKey(id: id, hash: hash(of: text), caller: caller, createdMilliseconds: UInt64(WallClock.microseconds() / 1_000)))
    }

    public static func hash(of text: String) -> [UInt8] { sha256(Array(text.utf8)) }

    static func sha256(_ bytes: [UInt8]) -> [UInt8] { unsafe SHA256.hash(data: bytes).withUnsafeBytes { unsafe Array($0) } }

    /// The id that a key names; nil for what is no key.
    static func id(in text: String) -> String? {
        guard text.utf8.starts(with: prefix.utf8) else { return nil }
        let id = text.utf8.dropFirst(prefix.utf8.count).prefix { $0 != UInt8(ascii: "_") }
        return id.count == idLetters ? String(id) : nil
    }

    public init(id: String, hash: [UInt8], caller: CallerInfo, createdMilliseconds: UInt64) {
        self.id = id
        self.hash = hash
        self.caller = caller
        self.createdMilliseconds = createdMilliseconds
    }

    public func info(lastUsedMilliseconds: UInt64?) -> AccessKeyInfo {
        AccessKeyInfo(id: id, caller: caller, createdMilliseconds: createdMilliseconds, lastUsedMilliseconds: lastUsedMilliseconds)
    }

    // MARK: In the metadata

    public var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.u8(Self.format)
        writer.string(id)
        writer.bytes(hash)
        writer.u64(createdMilliseconds)
        writer.string(caller.name)
        writer.varint(UInt64(caller.grants.count))
        for grant in caller.grants { writer.string(grant.text) }
        writer.bytes(caller.filter?.encoded ?? [])
        writer.f64(caller.limits.requestsPerSecond ?? 0)
        for limit in [caller.limits.requestBytes, caller.limits.batch, caller.limits.ef, caller.limits.limit] { writer.u64(UInt64(limit ?? 0)) }
        writer.u64(caller.expiresMilliseconds ?? 0)
        return writer.bytes
    }

    /// - Throws: `dataLoss` when the bytes are no key, `unimplemented` when a newer version wrote it.
    public init(encoded bytes: [UInt8]) throws(NeedletailError) {
        var reader = ByteReader(bytes)
        let format = try reader.u8()
        guard format == Self.format else {
            throw NeedletailError(.unimplemented, "the entry of an API key has format \(format), this build reads \(Self.format); upgrade the coordinator")
        }
        id = try reader.string()
        hash = try reader.bytes()
        createdMilliseconds = try reader.u64()
        let name = try reader.string()
        var grants: [Grant] = []
        for _ in 0..<(try reader.count()) { grants.append(try Grant(text: try reader.string())) }
        let filter = try reader.bytes()
        let rate = try reader.f64()
        func some(_ value: UInt64) -> Int? { value == 0 ? nil : Int(clamping: value) }
        let limits = RequestLimits(
            requestsPerSecond: rate == 0 ? nil : rate, requestBytes: some(try reader.u64()), batch: some(try reader.u64()), ef: some(try reader.u64()),
            limit: some(try reader.u64()))
        let expires = try reader.u64()
        caller = CallerInfo(
            name: name, grants: grants, filter: filter.isEmpty ? nil : try PayloadFilter(encoded: filter), limits: limits,
            expiresMilliseconds: expires == 0 ? nil : expires)
        try reader.expectEnd()
    }
}

/// Base64 for headers and URLs (RFC 4648, section 5), without padding.
enum Base64URL {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)

    static func encode(_ bytes: [UInt8]) -> String {
        var text: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            let bits = group.reduce(0) { $0 << 8 | Int($1) } << (8 * (3 - group.count))
            for index in 0...group.count { text.append(alphabet[bits >> (18 - 6 * index) & 63]) }
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// nil for what is none.
    static func decode(_ text: some StringProtocol) -> [UInt8]? {
        var (bytes, bits, count) = ([UInt8](), 0, 0)
        for character in text.utf8 {
            guard let value = alphabet.firstIndex(of: character) else { return nil }
            (bits, count) = (bits << 6 | value, count + 6)
            if count >= 8 {
                count -= 8
                bytes.append(UInt8(truncatingIfNeeded: bits >> count))
                bits &= (1 << count) - 1
            }
        }
        return count < 6 ? bytes : nil
    }
}

/// Whether two secrets are the same, in a time that says nothing about where they differ.
func isEqualInConstantTime(_ left: [UInt8], _ right: [UInt8]) -> Bool {
    guard left.count == right.count else { return false }
    return zip(left, right).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
}
