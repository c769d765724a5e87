import NeedletailCore
import Yams

/// A section of a scenario file, every value of which has been checked against `ScenarioKey.all`.
struct ScenarioTree {
    private let node: Node?
    /// In the table of keys: `phases[].search`.
    private let section: String
    /// In the file: `phases[0].search`.
    private let shown: String
    private let file: String

    /// Reads and checks a whole file. `overrides`: `path=value`, as `phases[0].rate=50`, that replace or add values.
    /// - Throws: `invalidArgument` that names file, line, key, what is wrong and what would be right.
    init(text: String, file: String, overrides: [String] = []) throws(NeedletailError) {
        var root: Node?
        do {
            root = try Yams.compose(yaml: text)
        } catch {
            throw Self.unreadable(error, file)
        }
        guard case .mapping = root else {
            throw NeedletailError(
                .invalidArgument, "\(file): a scenario is a YAML mapping that begins with `name:`; see Docs/load.md for its keys")
        }
        for override in overrides { root = try Self.replace(override, in: root ?? Node([(Node, Node)]())) }
        (node, section, shown, self.file) = (root, "", "", file)
        try check()
    }

    private init(_ node: Node?, section: String, shown: String, file: String) {
        (self.node, self.section, self.shown, self.file) = (node, section, shown, file)
    }

    private static func unreadable(_ error: any Error, _ file: String) -> NeedletailError {
        var text = "\(error)"
        var line = ""
        if let error = error as? YamlError {
            switch error {
            case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
                .composer(_, let problem, let mark, _):
                (text, line) = (problem, ":\(mark.line):\(mark.column)")
            case .duplicatedKeysInMapping(let duplicates, let context):
                (text, line) = (
                    "\(duplicates.joined(separator: ", ")) is there twice", ":\(context.mark.line):\(context.mark.column)"
                )
            default: break
            }
        }
        return NeedletailError(.invalidArgument, "\(file)\(line): this is no YAML: \(text)")
    }

    // MARK: Overrides

    private static func replace(_ override: String, in root: Node) throws(NeedletailError) -> Node {
        guard let equals = override.firstIndex(of: "="), equals > override.startIndex else {
            throw NeedletailError(.invalidArgument, "--set \(override): write PATH=VALUE, for example phases[0].rate=200")
        }
        let path = override[..<equals].split(whereSeparator: { ".[]".contains($0) }).map(String.init)
        let text = String(override[override.index(after: equals)...])
        guard let composed = try? Yams.compose(yaml: text.isEmpty ? "''" : text), let changed = set(path[...], composed, in: root)
        else {
            throw NeedletailError(
                .invalidArgument,
                "--set \(override): there is nothing at \(override[..<equals]); give lists' items by number from 0")
        }
        return changed
    }

    private static func set(_ path: ArraySlice<String>, _ value: Node, in node: Node) -> Node? {
        guard let first = path.first else { return value }
        switch node {
        case .mapping(var mapping):
            let child = mapping[Node(first)] ?? Node([(Node, Node)]())
            guard let changed = set(path.dropFirst(), value, in: child) else { return nil }
            mapping[Node(first)] = changed
            return .mapping(mapping)
        case .sequence(var sequence):
            guard let index = Int(first), sequence.indices.contains(index),
                let changed = set(path.dropFirst(), value, in: sequence[index])
            else { return nil }
            sequence[index] = changed
            return .sequence(sequence)
        default:
            return node.string?.isEmpty ?? true ? set(path, value, in: Node([(Node, Node)]())) : nil
        }
    }

    // MARK: Checking

    private func wrong(_ node: Node?, _ shown: String, _ text: String) -> NeedletailError {
        let mark = node?.mark.map { ":\($0.line):\($0.column)" } ?? ""
        return NeedletailError(.invalidArgument, "\(file)\(mark): \(shown) \(text)")
    }

    private func check() throws(NeedletailError) {
        guard let node else { return }
        if isEmpty(node) { return }
        guard case .mapping(let mapping) = node else {
            throw wrong(node, shown.isEmpty ? "the scenario" : shown, "is a section with keys, not a value")
        }
        let names = ScenarioKey.names(in: section)
        for (key, value) in mapping {
            let name = key.string ?? "?"
            let place = shown.isEmpty ? name : "\(shown).\(name)"
            guard names.contains(name), let known = ScenarioKey.byPath[section.isEmpty ? name : "\(section).\(name)"] else {
                let near =
                    NearestName.of(name, among: names).map { "; did you mean \($0)?" } ?? "; there are \(names.joined(separator: ", "))"
                throw wrong(key, place, "is no key" + near)
            }
            try check(value, known, place)
        }
    }

    private func check(_ node: Node, _ key: ScenarioKey, _ place: String) throws(NeedletailError) {
        switch key.kind {
        case .section:
            try ScenarioTree(node, section: key.path, shown: place, file: file).check()
        case .list:
            guard case .sequence(let items) = node else { throw wrong(node, place, "is a list: each item begins with a dash") }
            for (index, item) in items.enumerated() {
                try ScenarioTree(item, section: key.path + "[]", shown: "\(place)[\(index)]", file: file).check()
            }
        case .text:
            guard let text = node.string, !text.isEmpty else { throw wrong(node, place, "is a text") }
        case .texts:
            guard Self.texts(node) != nil else { throw wrong(node, place, "is a text or a list of texts") }
        case .flag:
            guard node.bool != nil else { throw wrong(node, place, "is true or false, not \(written(node))") }
        case .integer(let range):
            guard let value = node.int, range.contains(value) else {
                throw wrong(node, place, "is a whole number, \(key.allowed), not \(written(node))")
            }
        case .number(let range):
            guard let value = node.float, range.contains(value) else {
                throw wrong(node, place, "is a number, \(key.allowed), not \(written(node))")
            }
        case .choice(let values):
            guard let value = node.string, values.contains(value) else {
                throw wrong(node, place, "is one of \(key.allowed), not \(written(node))")
            }
        }
    }

    private func isEmpty(_ node: Node) -> Bool {
        guard case .scalar(let scalar) = node else { return false }
        return scalar.string.isEmpty || scalar.string == "~" || scalar.string == "null"
    }

    private func written(_ node: Node) -> String { node.string.map { "\"\($0)\"" } ?? "a list or section" }

    private static func texts(_ node: Node) -> [String]? {
        if case .sequence(let items) = node {
            let texts = items.compactMap(\.string)
            return texts.count == items.count ? texts : nil
        }
        return node.string.map { [$0] }
    }

    // MARK: Reading what was checked

    func error(_ name: String, _ text: String) -> NeedletailError {
        wrong(child(name) ?? node, shown.isEmpty ? name : "\(shown).\(name)", text)
    }

    func error(_ text: String) -> NeedletailError { wrong(node, shown, text) }

    private func child(_ name: String) -> Node? {
        guard case .mapping(let mapping) = node else { return nil }
        return mapping[Node(name)]
    }

    private func key(_ name: String) -> ScenarioKey {
        guard let key = ScenarioKey.byPath[section.isEmpty ? name : "\(section).\(name)"] else {
            preconditionFailure("\(section).\(name) is in no table")
        }
        return key
    }

    func has(_ name: String) -> Bool { child(name) != nil }

    func required(_ name: String) throws(NeedletailError) {
        guard has(name) else { throw wrong(node, shown.isEmpty ? name : "\(shown).\(name)", "is missing: \(key(name).about)") }
    }

    func section(_ name: String) -> ScenarioTree {
        ScenarioTree(child(name), section: key(name).path, shown: shown.isEmpty ? name : "\(shown).\(name)", file: file)
    }

    func items(_ name: String) -> [ScenarioTree] {
        guard case .sequence(let items)? = child(name) else { return [] }
        let place = shown.isEmpty ? name : "\(shown).\(name)"
        return items.enumerated().map { ScenarioTree($1, section: key(name).path + "[]", shown: "\(place)[\($0)]", file: file) }
    }

    func text(_ name: String) -> String? { child(name)?.string ?? key(name).fallback }
    func texts(_ name: String) -> [String] { child(name).flatMap(Self.texts) ?? [] }
    func flag(_ name: String) -> Bool { child(name)?.bool ?? (key(name).fallback == "true") }
    func integer(_ name: String) -> Int { child(name)?.int ?? key(name).fallback.flatMap { Int($0) } ?? 0 }
    func number(_ name: String) -> Double { child(name)?.float ?? key(name).fallback.flatMap { Double($0) } ?? 0 }
}
