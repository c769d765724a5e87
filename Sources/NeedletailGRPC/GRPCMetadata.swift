import NeedletailCore
import NeedletailHTTP2

/// Key–value pairs sent beside a call, in order; a key may come more than once.
///
/// Keys are lower case. A key that ends in `-bin` carries bytes, any other key printable ASCII. Keys that belong to the protocol
/// (`grpc-…`, `content-type`, `te`, `user-agent`, and those starting with a colon) never appear here.
public struct GRPCMetadata: Sendable, Hashable, ExpressibleByDictionaryLiteral {
    public typealias Key = String

    public enum Value: Sendable, Hashable, ExpressibleByStringLiteral {
        case text(String)
        case binary([UInt8])

        public init(stringLiteral text: String) { self = .text(text) }
    }

    public struct Entry: Sendable, Hashable {
        public let key: String
        public let value: Value
    }

    public private(set) var entries: [Entry] = []

    public init() {}

    public init(dictionaryLiteral elements: (String, Value)...) {
        entries = elements.map { Entry(key: $0.lowercased(), value: $1) }
    }

    public var isEmpty: Bool { entries.isEmpty }

    public mutating func append(_ text: String, for key: String) {
        entries.append(Entry(key: key.lowercased(), value: .text(text)))
    }

    /// `key` must end in `-bin`.
    public mutating func append(_ bytes: [UInt8], for key: String) {
        entries.append(Entry(key: key.lowercased(), value: .binary(bytes)))
    }

    public mutating func append(_ value: Value, for key: String) {
        entries.append(Entry(key: key.lowercased(), value: value))
    }

    /// The first text under `key`.
    public subscript(key: String) -> String? {
        for entry in entries where entry.key == key {
            if case .text(let text) = entry.value { return text }
        }
        return nil
    }

    /// The first bytes under `key`, which ends in `-bin`.
    public func binary(_ key: String) -> [UInt8]? {
        for entry in entries where entry.key == key {
            if case .binary(let bytes) = entry.value { return bytes }
        }
        return nil
    }

    /// Every value under `key`, in order.
    public func all(_ key: String) -> [Value] { entries.filter { $0.key == key }.map(\.value) }

    /// Throws `invalidArgument` for the first entry that may not stand in a header.
    public func validate() throws {
        for entry in entries {
            guard !entry.key.isEmpty, entry.key.utf8.allSatisfy(Self.isKeyByte), !Self.isReserved(entry.key) else {
                throw NeedletailError(.invalidArgument, "'\(entry.key)' cannot be a metadata key. Use a–z, 0–9, '_', '-', '.'.")
            }
            let isBinary = entry.key.hasSuffix("-bin")
            switch entry.value {
            case .text(let text) where isBinary || !text.utf8.allSatisfy({ (0x20...0x7e).contains($0) }):
                throw NeedletailError(
                    .invalidArgument,
                    "The value of metadata key '\(entry.key)' is not printable ASCII. Send bytes under a '-bin' key.")
            case .binary where !isBinary:
                throw NeedletailError(.invalidArgument, "Metadata key '\(entry.key)' carries bytes: its name must end in '-bin'.")
            default: continue
            }
        }
    }

    private static func isKeyByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        case UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "."): true
        default: false
        }
    }

    static func isReserved(_ key: String) -> Bool {
        key.hasPrefix("grpc-") || key.hasPrefix(":")
            || ["te", "content-type", "user-agent", "host", "connection", "content-length", "transfer-encoding"].contains(key)
    }
}

// MARK: - On the wire

extension GRPCMetadata {
    /// Takes a header that is not the protocol's. Bytes that are no base64 are dropped, as is the header.
    mutating func receive(name: RawSpan, value: RawSpan) {
        let key = name.text
        guard !Self.isReserved(key) else { return }
        guard key.hasSuffix("-bin") else { return entries.append(Entry(key: key, value: .text(value.text))) }
        // Several values may arrive joined by commas (gRPC over HTTP2, "Binary-Header").
        for part in value.text.utf8.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
            if let bytes = Base64.decode(part) { entries.append(Entry(key: key, value: .binary(bytes))) }
        }
    }

    func write(to block: inout HTTP2HeaderBlock) {
        for entry in entries {
            switch entry.value {
            case .text(let text): block.add(entry.key, text)
            case .binary(let bytes): block.add(entry.key, Base64.encode(bytes))
            }
        }
    }
}
