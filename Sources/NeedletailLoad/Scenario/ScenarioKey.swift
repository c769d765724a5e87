/// A key that scenario files may have, as the reader checks it and `Docs/load.md` lists it.
public struct ScenarioKey: Sendable {
    public enum Kind: Sendable, Equatable {
        /// A mapping with keys of its own.
        case section
        /// A list of mappings; the path of their keys goes on with `[]`.
        case list
        case text
        /// One text, or a list of them.
        case texts
        case flag
        case integer(ClosedRange<Int>)
        case number(ClosedRange<Double>)
        case choice([String])
    }

    /// From the root, as `phases[].search.limit`.
    public let path: String
    public let kind: Kind
    /// What holds when it is absent, as it would be written; nil: nothing.
    public let fallback: String?
    public let about: String

    init(_ path: String, _ kind: Kind, _ fallback: String? = nil, _ about: String) {
        self.path = path
        self.kind = kind
        self.fallback = fallback
        self.about = about
    }

    /// What may stand there, for people.
    public var allowed: String {
        switch kind {
        case .section: "section"
        case .list: "list of sections"
        case .text: "text"
        case .texts: "text or list of texts"
        case .flag: "true or false"
        case .integer(let range): "\(range.lowerBound) to \(range.upperBound)"
        case .number(let range): "\(Self.plain(range.lowerBound)) to \(Self.plain(range.upperBound))"
        case .choice(let values): values.joined(separator: ", ")
        }
    }

    static func plain(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 1e15 ? String(Int(value)) : String(value)
    }

    /// All keys as rows of a Markdown table.
    public static var table: String {
        let rows = all.map { key in
            let fallback = key.fallback.map { $0.isEmpty ? "" : "`\($0)`" } ?? ""
            return "| `\(key.path)` | \(key.allowed) | \(fallback) | \(key.about) |"
        }
        return (["| key | value | when absent | what it is |", "| --- | --- | --- | --- |"] + rows).joined(separator: "\n") + "\n"
    }
}
