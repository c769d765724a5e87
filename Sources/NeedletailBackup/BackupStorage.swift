public import NeedletailCore

/// Where backups lie: objects under keys, each whole or not there.
///
/// Keys are of lower-case letters, digits, `.`, `_`, `-` and, in the case of names that people gave, upper-case letters, with `/` between their
/// parts. All methods throw `NeedletailError` with a message for the operator: `unavailable` for what may pass, after a few attempts.
public protocol BackupStorage: Sendable {
    /// For messages; without secrets.
    var address: String { get }

    /// Stores an object, in place of the one that has the key, durably when it returns.
    func put(_ key: String, _ bytes: [UInt8]) async throws
    /// The object's bytes; nil when there is none.
    func get(_ key: String) async throws -> [UInt8]?
    func exists(_ key: String) async throws -> Bool
    /// Calls `body` with the objects whose keys begin with `prefix` (empty, or ending in "/"), page by page, in no order.
    func list(_ prefix: String, _ body: ([StoredObject]) async throws -> Void) async throws
    /// One that is not there is no error.
    func delete(_ key: String) async throws
}

public struct StoredObject: Sendable, Hashable {
    public var key: String
    public var sizeBytes: UInt64

    public init(key: String, sizeBytes: UInt64) {
        self.key = key
        self.sizeBytes = sizeBytes
    }
}

/// A place for backups as people write it: `file:///folder` or `s3://bucket/prefix`.
public enum BackupTarget: Sendable, Hashable {
    case folder(String)
    case s3(bucket: String, prefix: String)

    /// - Throws: `invalidArgument` for anything else.
    public init(_ text: String) throws(NeedletailError) {
        if let path = Self.rest(of: text, after: "file://") {
            guard path.hasPrefix("/"), path.count > 1, !path.split(separator: "/").contains("..") else {
                throw NeedletailError(.invalidArgument, "\"\(text)\" names no folder: write file:///absolute/folder")
            }
            self = .folder(Self.trimmed(path))
        } else if let place = Self.rest(of: text, after: "s3://") {
            let slash = place.firstIndex(of: "/") ?? place.endIndex
            let (bucket, prefix) = (String(place[..<slash]), String(place[slash...].drop { $0 == "/" }))
            let isValid = bucket.utf8.allSatisfy { Self.isPlain($0) } && prefix.utf8.allSatisfy { Self.isPlain($0) || $0 == UInt8(ascii: "/") }
            guard isValid, !bucket.isEmpty, !prefix.split(separator: "/").contains(where: { $0 == ".." || $0 == "." }) else {
                throw NeedletailError(
                    .invalidArgument, "\"\(text)\" names no bucket: write s3://bucket or s3://bucket/prefix, of letters, digits, '.', '_' and '-'")
            }
            self = .s3(bucket: bucket, prefix: Self.trimmed(prefix))
        } else {
            throw NeedletailError(.invalidArgument, "\"\(text)\" is no place for backups: write file:///absolute/folder or s3://bucket/prefix")
        }
    }

    private static func rest(of text: String, after scheme: String) -> String? { text.hasPrefix(scheme) ? String(text.dropFirst(scheme.count)) : nil }

    private static func trimmed(_ path: String) -> String {
        var path = path
        while path.count > 1, path.hasSuffix("/") { path.removeLast() }
        return path
    }

    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        case UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"): true
        default: false
        }
    }

    /// One way of writing it for all.
    public var text: String {
        switch self {
        case .folder(let path): "file://" + path
        case .s3(let bucket, let prefix): prefix.isEmpty ? "s3://" + bucket : "s3://\(bucket)/\(prefix)"
        }
    }

    /// - Parameter environment: that of the process; for S3 it has the endpoint, the region and the credentials.
    /// - Throws: `failedPrecondition` when they are not there.
    public func open(environment: [String: String]) throws(NeedletailError) -> any BackupStorage {
        switch self {
        case .folder(let path): FolderStorage(path)
        case .s3(let bucket, let prefix): try S3Storage(bucket: bucket, prefix: prefix, S3Access(environment: environment))
        }
    }
}
