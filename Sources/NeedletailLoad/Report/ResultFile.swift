public import Foundation
public import NeedletailCore

extension LoadResult {
    public var json: Data {
        get throws {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            return try encoder.encode(self)
        }
    }

    /// - Throws: `invalidArgument` when the file is no result of this version.
    public static func read(file: String) throws(NeedletailError) -> LoadResult {
        guard let data = FileManager.default.contents(atPath: file) else {
            throw NeedletailError(.invalidArgument, "\(file) cannot be read: give the JSON file that `needletail-load run` wrote")
        }
        struct Head: Decodable { var format: Int }
        guard let head = try? JSONDecoder().decode(Head.self, from: data) else {
            throw NeedletailError(.invalidArgument, "\(file) is no result: give the JSON file that `needletail-load run` wrote")
        }
        guard head.format == currentFormat else {
            throw NeedletailError(
                .invalidArgument,
                "\(file) has format \(head.format), this build reads \(currentFormat); use the version that wrote it")
        }
        do {
            let result = try JSONDecoder().decode(LoadResult.self, from: data)
            guard result.phases.allSatisfy({ result.scenario.phases.indices.contains($0.phase) }) else {
                throw NeedletailError(.invalidArgument, "a phase is not the scenario's")
            }
            return result
        } catch {
            throw NeedletailError(.invalidArgument, "\(file) is damaged: \(error)", cause: error)
        }
    }
}
