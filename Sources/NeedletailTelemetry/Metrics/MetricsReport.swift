/// What all metrics come to at one moment.
public struct MetricsReport: Sendable {
    private struct Family {
        var definition: MetricDefinition
        var series: [(labels: [String], value: MetricSeries.Value)] = []
    }

    private var families: [String: Family] = [:]

    init() {}

    /// How a counter or gauge stands. Several with the same labels are added up.
    public mutating func add(_ definition: MetricDefinition, _ labels: [String] = [], _ value: Double) {
        add(definition, labels, MetricSeries.Value(sum: value))
    }

    public mutating func add(_ definition: MetricDefinition, _ labels: [String] = [], _ value: some BinaryInteger) {
        add(definition, labels, Double(value))
    }

    mutating func add(_ definition: MetricDefinition, _ labels: [String], _ value: MetricSeries.Value) {
        families[definition.name, default: Family(definition: definition)].series.append((labels, value))
    }

    /// Families by name, series by labels, so that two texts can be compared line by line.
    func text() -> String {
        var text = ""
        for family in families.values.sorted(by: { $0.definition.name < $1.definition.name }) {
            let definition = family.definition
            text += "# HELP \(definition.name) \(Self.escaped(definition.help, quotes: false))\n# TYPE \(definition.name) \(definition.kind.name)\n"
            var merged: [[String]: MetricSeries.Value] = [:]
            for (labels, value) in family.series { merged[labels, default: MetricSeries.Value()].merge(value) }
            for (labels, value) in merged.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) { Self.write(definition, labels, value, to: &text) }
        }
        return text
    }

    private static func write(_ definition: MetricDefinition, _ values: [String], _ value: MetricSeries.Value, to text: inout String) {
        let labels = zip(definition.labels, values).map { "\($0)=\"\(escaped($1, quotes: true))\"" }
        func braced(_ labels: [String]) -> String { labels.isEmpty ? "" : "{\(labels.joined(separator: ","))}" }
        guard case .histogram(let bounds) = definition.kind else {
            return text += "\(definition.name)\(braced(labels)) \(number(value.sum))\n"
        }
        var count: UInt64 = 0
        for (index, hits) in value.buckets.enumerated() {
            count += hits
            let bound = index < bounds.count ? number(bounds[index]) : "+Inf"
            text += "\(definition.name)_bucket\(braced(labels + ["le=\"\(bound)\""])) \(count)\n"
        }
        text += "\(definition.name)_sum\(braced(labels)) \(number(value.sum))\n\(definition.name)_count\(braced(labels)) \(count)\n"
    }

    private static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value > 0 ? "+Inf" : "-Inf" }
        return value == value.rounded() && abs(value) < 1e15 ? "\(Int64(value))" : "\(value)"
    }

    private static func escaped(_ text: String, quotes: Bool) -> String {
        var escaped = ""
        for character in text {
            switch character {
            case "\\": escaped += "\\\\"
            case "\n": escaped += "\\n"
            case "\"" where quotes: escaped += "\\\""
            default: escaped.append(character)
            }
        }
        return escaped
    }
}

extension MetricSeries.Value {
    fileprivate mutating func merge(_ other: Self) {
        sum += other.sum
        if buckets.isEmpty { buckets = other.buckets } else { for index in other.buckets.indices { buckets[index] += other.buckets[index] } }
    }
}
