/// Where the cluster's decisions are kept: small values under text keys, changed by compare-and-swap only.
///
/// `collections/NAME` holds a collection with its shard map, `cluster` the cluster's identity. Values carry their own format version.
public protocol MetadataStore: Sendable {
    /// The value under a key; nil when there is none.
    func get(_ key: String) async throws -> [UInt8]?

    /// Everything under keys that begin with `prefix`, in order of the keys, as of one moment.
    func entries(prefix: String) async throws -> [MetadataEntry]

    /// Sets (or with nil removes) the value, if the key's value still is `expected` (nil: absent). Durable when it returns.
    /// - Returns: false when somebody else was first; nothing has changed then.
    func replace(_ key: String, expected: [UInt8]?, with value: [UInt8]?) async throws -> Bool
}

public struct MetadataEntry: Sendable, Equatable {
    public var key: String
    public var value: [UInt8]

    public init(key: String, value: [UInt8]) {
        self.key = key
        self.value = value
    }
}
