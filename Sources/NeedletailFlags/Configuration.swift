public import ArgumentParser
import Foundation
public import NeedletailCore

/// What a program was told, and where: a flag outweighs the environment, the environment the file, and the file what the program does by default.
public struct Configuration {
    /// Where a value is from.
    enum Origin: Equatable {
        case commandLine
        case environment(variable: String)
        case file(place: String)
        case standard
    }

    struct Value {
        let setting: Setting
        var values: [String]
        var origin: Origin
    }

    /// In the order of the program's help.
    let values: [Value]
    /// For the command, with what the environment and the file say.
    public let arguments: [String]
    /// Whether the configuration is to be shown, instead of the program being run.
    public let isToBeShown: Bool

    /// - Parameters:
    ///   - arguments: of the process, without its name.
    ///   - prefix: of the variables: NEEDLETAIL_SHARD_ has NEEDLETAIL_SHARD_LOG_LEVEL for --log-level.
    /// - Throws: `invalidArgument` for a file that cannot be read, and for names that mean nothing, with the one that was probably meant.
    public init(
        of command: any ParsableCommand.Type, arguments given: [String], environment: [String: String], prefix: String
    ) throws(NeedletailError) {
        let settings = Setting.all(of: command)
        var (rest, said) = Self.read(given, settings)
        let path = try Self.take("--config", from: &rest) ?? environment[prefix + "CONFIG"].flatMap { $0.isEmpty ? nil : $0 }
        isToBeShown = rest.contains("--print-config")
        rest.removeAll { $0 == "--print-config" }
        try Self.checkNames(of: environment, prefix, settings)
        let entries = try path.map { path throws(NeedletailError) in try ConfigurationFile(path: path, settings: settings) }?.entries ?? [:]
        var values: [Value] = []
        for setting in settings {
            let variable = Self.variable(of: setting, prefix)
            if let said = said.removeValue(forKey: setting.name) {
                values.append(Value(setting: setting, values: said, origin: .commandLine))
            } else if let text = environment[variable] {
                let parts = setting.kind == .values ? text.split(separator: ",").map(String.init) : [text]
                guard let more = setting.arguments(parts) else { throw NeedletailError(.invalidArgument, "\(variable) \(setting.wanted), not \"\(text)\"") }
                rest += more
                values.append(Value(setting: setting, values: parts, origin: .environment(variable: variable)))
            } else if let entry = entries[setting.name], let more = setting.arguments(entry.values) {
                rest += more
                values.append(Value(setting: setting, values: entry.values, origin: .file(place: entry.place)))
            } else {
                let standard = setting.defaultValue.map { setting.kind == .values ? $0.split(separator: ", ").map(String.init) : [$0] }
                values.append(Value(setting: setting, values: standard ?? (setting.isFlag ? ["false"] : []), origin: .standard))
            }
        }
        (self.values, self.arguments) = (values, rest)
    }

    /// The command line as it is, and what it says of which setting.
    private static func read(_ given: [String], _ settings: [Setting]) -> (rest: [String], said: [String: [String]]) {
        var said: [String: [String]] = [:]
        var index = 0
        while index < given.count {
            for setting in settings {
                guard let match = setting.match(given[index]) else { continue }
                if !match.isComplete { index += 1 }
                let value = match.isComplete ? match.value : index < given.count ? given[index] : nil
                let earlier = setting.kind == .values ? said[setting.name] ?? [] : []
                said[setting.name] = earlier + (value.map { [$0] } ?? [])
                break
            }
            index += 1
        }
        return (given, said)
    }

    /// Takes an option with its value out of the arguments.
    private static func take(_ name: String, from arguments: inout [String]) throws(NeedletailError) -> String? {
        guard let index = arguments.firstIndex(where: { $0 == name || $0.hasPrefix(name + "=") }) else { return nil }
        guard !arguments.dropFirst(index + 1).contains(where: { $0 == name || $0.hasPrefix(name + "=") }) else {
            throw NeedletailError(.invalidArgument, "\(name) is given twice; there is one file")
        }
        let argument = arguments.remove(at: index)
        if argument != name { return String(argument.dropFirst(name.count + 1)) }
        guard index < arguments.count else { throw NeedletailError(.invalidArgument, "\(name) names a file") }
        return arguments.remove(at: index)
    }

    private static func variable(of setting: Setting, _ prefix: String) -> String {
        prefix + setting.name.uppercased().replacingOccurrences(of: "-", with: "_")
    }

    private static func checkNames(of environment: [String: String], _ prefix: String, _ settings: [Setting]) throws(NeedletailError) {
        let known = Set(settings.map { variable(of: $0, prefix) }).union([prefix + "CONFIG"])
        for name in environment.keys.sorted() where name.hasPrefix(prefix) && !known.contains(name) && !isServiceLink(name.dropFirst(prefix.count)) {
            let near = NearestName.of(name, among: known.sorted()).map { "; did you mean \($0)?" } ?? "; they are named as the flags of --help are"
            throw NeedletailError(.invalidArgument, "the variable \(name) means nothing" + near)
        }
    }

    /// Kubernetes tells every process about the services of its namespace: one named needletail-shard as NEEDLETAIL_SHARD_SERVICE_HOST, NEEDLETAIL_SHARD_PORT,
    /// NEEDLETAIL_SHARD_PORT_7470_TCP_ADDR and the like.
    private static func isServiceLink(_ name: Substring) -> Bool {
        ["PORT", "SERVICE_HOST"].contains(name) || name.hasPrefix("SERVICE_PORT")
            || (name.hasPrefix("PORT_") && (name.contains("_TCP") || name.contains("_UDP")))
    }

    // MARK: Telling

    /// As a file that would say the same, with where each value is from, and whether it may change while the program runs.
    func shown(live: Set<String>) -> String {
        values.map { value in
            let text: String
            switch value.setting.kind {
            case .value, .flag, .invertible: text = value.values.first.map { Self.quoted($0, value.setting) } ?? ""
            case .values: text = "[\(value.values.map { Self.quoted($0, value.setting) }.joined(separator: ", "))]"
            }
            let line = "\(value.setting.name):" + (text.isEmpty ? "" : " \(text)")
            let remarks = [value.origin.words, text.isEmpty ? "none" : nil, live.contains(value.setting.name) ? "live" : nil]
            return line + String(repeating: " ", count: max(1, 40 - line.count)) + "# " + remarks.compactMap(\.self).joined(separator: ", ")
        }
        .joined(separator: "\n")
    }

    private static func quoted(_ text: String, _ setting: Setting) -> String {
        if setting.isFlag { return Setting.truth[text.lowercased()] == true ? "true" : "false" }
        let isPlain = !text.isEmpty && text.allSatisfy { $0.isLetter || $0.isNumber || "-./_".contains($0) } && !text.hasPrefix("-")
        if isPlain { return text }
        let escaped = [("\\", "\\\\"), ("\"", "\\\""), ("\n", "\\n"), ("\r", "\\r")].reduce(text) { $0.replacingOccurrences(of: $1.0, with: $1.1) }
        return "\"\(escaped)\""
    }

    /// What the command's own refusal of its arguments lacks: that a value is not from the command line.
    public func explanation(of message: String) -> String? {
        // As whole names: --moves is in --moves-per-node.
        let words = Set(message.split { !$0.isLetter && $0 != "-" })
        return values.filter { words.contains("--\($0.setting.name)") }.lazy.compactMap { value in
            switch value.origin {
            case .file(let place): "--\(value.setting.name) is from \(place)"
            case .environment(let variable): "--\(value.setting.name) is from the variable \(variable)"
            case .commandLine, .standard: nil
            }
        }
        .first
    }

    /// The names of settings that have other values than in `other`.
    public func changes(from other: Configuration) -> [String] {
        zip(values, other.values).filter { $0.values != $1.values }.map(\.0.setting.name)
    }
}

extension Setting {
    var isFlag: Bool {
        switch kind {
        case .flag, .invertible: true
        case .value, .values: false
        }
    }
}

extension Configuration.Origin {
    var words: String {
        switch self {
        case .commandLine: "command line"
        case .environment(let variable): variable
        case .file(let place): place
        case .standard: "default"
        }
    }
}
