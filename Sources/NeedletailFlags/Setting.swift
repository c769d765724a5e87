import ArgumentParser
import Foundation

/// One thing that a program can be told: by a flag, a variable of the environment or a key of its file, all of the same name.
struct Setting: Equatable {
    enum Kind: Equatable {
        case value
        /// Repeated on the command line, a list in the file, with commas in the environment.
        case values
        case flag
        /// A flag with one that undoes it.
        case invertible(off: String)
    }

    let name: String
    let kind: Kind
    /// As the program's help shows it; nil: none.
    let defaultValue: String?

    /// What a command takes, in the order of its help.
    static func all(of command: any ParsableCommand.Type) -> [Setting] {
        // The library's own description of a command, which its shell completions and manuals are made of.
        guard let description = try? JSONDecoder().decode(Description.self, from: Data(command._dumpHelp().utf8)) else {
            preconditionFailure("the description of \(command) has another form; ArgumentParser changed it")
        }
        let undescribed: Set = ["help", "version", "config", "print-config"]
        let arguments = (description.command.arguments ?? []).filter { $0.shouldDisplay }
        // A flag that can be undone is described as two flags.
        let flags = Set(arguments.filter { $0.kind == "flag" }.compactMap(\.longName))
        return arguments.compactMap { argument in
            guard let name = argument.longName, !undescribed.contains(name) else { return nil }
            guard argument.kind == "flag" else {
                return Setting(name: name, kind: argument.isRepeating ? .values : .value, defaultValue: argument.defaultValue)
            }
            if name.hasPrefix("no-"), flags.contains(String(name.dropFirst(3))) { return nil }
            guard flags.contains("no-\(name)") else { return Setting(name: name, kind: .flag, defaultValue: argument.defaultValue) }
            return Setting(name: name, kind: .invertible(off: "no-\(name)"), defaultValue: argument.defaultValue == "--\(name)" ? "true" : "false")
        }
    }

    private struct Description: Decodable {
        struct Name: Decodable {
            var kind: String
            var name: String
        }

        struct Argument: Decodable {
            var kind: String
            var names: [Name]?
            var isRepeating: Bool
            var shouldDisplay: Bool
            var defaultValue: String?

            var longName: String? { names?.first { $0.kind == "long" }?.name }
        }

        struct Command: Decodable { var arguments: [Argument]? }

        var command: Command
    }

    // MARK: Values

    /// The arguments that say so.
    /// - Parameter values: of a flag, "true" or "false".
    /// - Returns: nil when the values are none of this kind.
    func arguments(_ values: [String]) -> [String]? {
        switch kind {
        case .value: return values.count == 1 ? ["--\(name)=\(values[0])"] : nil
        case .values: return values.map { "--\(name)=\($0)" }
        case .flag, .invertible:
            guard values.count == 1, let isOn = Self.truth[values[0].lowercased()] else { return nil }
            if isOn { return ["--\(name)"] }
            if case .invertible(let off) = kind { return ["--\(off)"] }
            return []
        }
    }

    static let truth = ["true": true, "yes": true, "on": true, "1": true, "false": false, "no": false, "off": false, "0": false]

    /// What is allowed, for those who wrote something else.
    var wanted: String {
        switch kind {
        case .value: "takes one value"
        case .values: "takes a value or a list of values"
        case .flag, .invertible: "is true or false"
        }
    }

    /// What an argument of the command line says about it: its value, nil when that is the next argument.
    /// - Returns: nil when it is about something else.
    func match(_ argument: String) -> (value: String?, isComplete: Bool)? {
        switch kind {
        case .value, .values:
            if argument == "--\(name)" { return (nil, false) }
            return argument.hasPrefix("--\(name)=") ? (String(argument.dropFirst(name.count + 3)), true) : nil
        case .flag: return argument == "--\(name)" ? ("true", true) : nil
        case .invertible(let off):
            if argument == "--\(name)" { return ("true", true) }
            return argument == "--\(off)" ? ("false", true) : nil
        }
    }
}
