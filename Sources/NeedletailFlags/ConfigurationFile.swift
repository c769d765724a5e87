import Foundation
import NeedletailCore
import Yams

/// A program's settings in YAML: a mapping from the names of flags, without their dashes, to values.
struct ConfigurationFile {
    struct Entry {
        var values: [String]
        /// file:line
        var place: String
    }

    let entries: [String: Entry]

    /// - Throws: `invalidArgument` with file and line, for what cannot be read, is no setting, or has no value.
    init(path: String, settings: [Setting]) throws(NeedletailError) {
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
            throw NeedletailError(.invalidArgument, "the configuration file cannot be read: \(path)")
        }
        let root: Node?
        do { root = try Yams.compose(yaml: text) } catch {
            throw NeedletailError(.invalidArgument, "\(path) is no YAML: \(Self.words(error))")
        }
        var entries: [String: Entry] = [:]
        guard let root, root.string?.isEmpty != true else {
            self.entries = [:]
            return
        }
        guard case .mapping(let mapping) = root else {
            throw NeedletailError(.invalidArgument, "\(path): a configuration is a YAML mapping of the program's flags, as \"listen: 10.0.0.2:7460\"")
        }
        for (key, node) in mapping {
            let name = key.string ?? "?"
            let place = key.mark.map { "\(path):\($0.line)" } ?? path
            guard let setting = settings.first(where: { $0.name == name }) else {
                throw NeedletailError(.invalidArgument, "\(place): \(name) is no setting" + Self.hint(name, settings))
            }
            // A key alone leaves its setting as it is.
            if node.null != nil { continue }
            guard let values = Self.values(node), setting.arguments(values) != nil else {
                throw NeedletailError(.invalidArgument, "\(place): \(name) \(setting.wanted)")
            }
            entries[name] = Entry(values: values, place: place)
        }
        self.entries = entries
    }

    /// The library's own words have all of the file in them.
    private static func words(_ error: any Error) -> String {
        switch error as? YamlError {
        case .scanner(_, let problem, let mark, _)?, .parser(_, let problem, let mark, _)?, .composer(_, let problem, let mark, _)?:
            "line \(mark.line), column \(mark.column): \(problem)"
        case .duplicatedKeysInMapping(let duplicates, _)?: "a key is there twice: \(duplicates.sorted().joined(separator: ", "))"
        case .reader(let problem, _, _, _)?: problem
        default: "it cannot be read"
        }
    }

    static func hint(_ name: String, _ settings: [Setting]) -> String {
        NearestName.of(name, among: settings.map(\.name)).map { "; did you mean \($0)?" } ?? "; --help shows those there are"
    }

    private static func values(_ node: Node) -> [String]? {
        switch node {
        case .scalar(let scalar): [scalar.string]
        case .sequence(let items): items.allSatisfy { $0.string != nil } ? items.compactMap(\.string) : nil
        case .mapping, .alias: nil
        }
    }
}
