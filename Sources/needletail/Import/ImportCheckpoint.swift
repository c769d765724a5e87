import Foundation
import NeedletailClient

/// How far an import has come, in a file beside its source, so that it can go on after a break.
struct ImportCheckpoint: Codable {
    var collection: String
    /// Of the collection: one deleted and made again is another.
    var incarnation: String
    /// The options that decide what a row becomes.
    var options: String
    /// Rows whose writes were acknowledged.
    var rows: Int
    /// Of the source: another file under the same name must not be taken for it.
    var sourceBytes: UInt64
    /// When the source was last written, in seconds.
    var sourceModified: Double

    static func path(of source: String) -> String { source + ".needletail-import" }

    static func size(of source: String) -> UInt64 {
        ((try? FileManager.default.attributesOfItem(atPath: source))?[.size] as? NSNumber)?.uint64Value ?? 0
    }

    static func modified(_ source: String) -> Double {
        ((try? FileManager.default.attributesOfItem(atPath: source))?[.modificationDate] as? Date)?.timeIntervalSince1970 ?? 0
    }

    /// - Throws: `failedPrecondition` when the file belongs to another import.
    static func load(source: String, collection: String, incarnation: String, options: String) throws -> ImportCheckpoint? {
        guard let data = FileManager.default.contents(atPath: path(of: source)) else { return nil }
        guard let checkpoint = try? JSONDecoder().decode(ImportCheckpoint.self, from: data), checkpoint.collection == collection,
            checkpoint.incarnation == incarnation, checkpoint.options == options, checkpoint.sourceModified == modified(source),
            checkpoint.sourceBytes == size(of: source), checkpoint.rows >= 0
        else {
            throw NeedletailError(
                .failedPrecondition,
                "\(path(of: source)) belongs to another import: the file, the collection or the options differ; import without --resume to begin again")
        }
        return checkpoint
    }

    func save(source: String) throws {
        do {
            try JSONEncoder().encode(self).write(to: URL(fileURLWithPath: Self.path(of: source)), options: .atomic)
        } catch {
            throw NeedletailError(
                .failedPrecondition, "cannot write \(Self.path(of: source)): \(error.localizedDescription)", cause: error)
        }
    }

    static func remove(source: String) { try? FileManager.default.removeItem(atPath: path(of: source)) }
}
