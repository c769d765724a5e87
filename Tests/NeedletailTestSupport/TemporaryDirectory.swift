import Foundation

/// A folder of its own for one test, removed with the object.
public final class TemporaryDirectory: Sendable {
    public let path: String

    public init() {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("needletail-test-\(UUID().uuidString)").path
        try? FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    /// A copy of everything in another one, as it is on disk now.
    public init(copyOf other: TemporaryDirectory) throws {
        path = other.path + "-copy-\(UInt32.random(in: 0...UInt32.max))"
        try FileManager.default.copyItem(atPath: other.path, toPath: path)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}
