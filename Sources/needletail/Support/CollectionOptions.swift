import ArgumentParser
import NeedletailClient

// How the parts of a collection are written on the command line and in JSON.

extension Metric {
    init?(option: some StringProtocol) {
        guard let metric = Metric.allCases.first(where: { "\($0)" == option.lowercased() }) else { return nil }
        self = metric
    }
}

extension VectorElement {
    init?(option: some StringProtocol) {
        guard let element = VectorElement.allCases.first(where: { "\($0)" == option.lowercased() }) else { return nil }
        self = element
    }
}

extension VectorField {
    /// - Throws: `ValidationError` saying which part is wrong.
    init(option: String, graph: GraphParameters) throws {
        let parts = option.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 3 || parts.count == 4, !parts[0].isEmpty else {
            throw ValidationError("--field \(option): write NAME:DIMENSIONS:METRIC or NAME:DIMENSIONS:METRIC:ELEMENT.")
        }
        guard let dimensions = Int(parts[1]), dimensions > 0 else {
            throw ValidationError("--field \(option): \"\(parts[1])\" is no number of dimensions.")
        }
        guard let metric = Metric(option: parts[2]) else {
            throw ValidationError("--field \(option): the metric is l2, cosine, dot or hamming, not \"\(parts[2])\".")
        }
        let element = parts.count == 4 ? VectorElement(option: parts[3]) : metric == .hamming ? .bit : .f32
        guard let element else {
            throw ValidationError("--field \(option): the element is f32, f16, u8 or bit, not \"\(parts[3])\".")
        }
        self.init(name: String(parts[0]), dimensions: dimensions, metric: metric, element: element, graph: graph)
    }

    /// Gives fields their indexes: an option is a spec for all, or NAME=SPEC for one field.
    /// - Throws: `ValidationError` for a spec that cannot be read.
    static func index(_ fields: [VectorField], options: [String]) throws -> [VectorField] {
        var fields = fields
        for option in options {
            let name = option.prefix { $0 != "=" }
            let isNamed = name.count < option.count && fields.contains { $0.name == name }
            let spec: IndexSpec
            do throws(NeedletailError) {
                spec = try IndexSpec(text: isNamed ? String(option.dropFirst(name.count + 1)) : option)
            } catch {
                throw ValidationError("--index \(option): \(error.message)")
            }
            for number in fields.indices where !isNamed || fields[number].name == name {
                let given = fields[number].graph
                fields[number].index = spec
                // --m and --ef-construction are for those whose spec says nothing of them.
                if spec.graph == GraphParameters() { fields[number].index.graph = given }
            }
        }
        return fields
    }

    var option: String { "\(name):\(dimensions):\(metric):\(element)" }

    var json: PayloadValue {
        .map([
            "name": .string(name), "dimensions": .count(dimensions), "metric": .string("\(metric)"),
            "element": .string("\(element)"),
            "m": .count(graph.m), "ef_construction": .count(graph.efConstruction), "index": .string(index.description),
        ])
    }
}

extension Durability {
    init(option: String) throws {
        if option == "every-commit" {
            self = .everyCommit
        } else if option.hasSuffix("ms"), let milliseconds = Int(option.dropLast(2)), (1...60_000).contains(milliseconds) {
            self = .interval(milliseconds: milliseconds)
        } else {
            throw ValidationError("--durability is every-commit or an interval of 1ms to 60000ms, not \"\(option)\".")
        }
    }

    var option: String {
        switch self {
        case .everyCommit: "every-commit"
        case .interval(let milliseconds): "\(milliseconds)ms"
        }
    }
}

extension CodecProgress {
    var option: String {
        let state = version == 0 ? "untrained" : "trained version \(version)" + (isDone ? "" : ", encoding \(encoded) of \(total)")
        return problem.isEmpty ? state : "\(state); \(problem)"
    }
}

extension CollectionInfo {
    /// How far the codec of a field is; nil when it has none.
    func codec(_ field: Int) -> CodecProgress? {
        guard spec.fields[field].index.needsTraining else { return nil }
        return codecs.indices.contains(field) ? codecs[field] : CodecProgress()
    }

    private var codecsJSON: PayloadValue {
        .list(
            spec.fields.indices.map { field in
                guard let codec = codec(field) else { return .null }
                return .map([
                    "version": .count(codec.version), "encoded": .count(codec.encoded), "total": .count(codec.total),
                    "state": .string(codec.option),
                ])
            })
    }

    var json: PayloadValue {
        .map([
            "name": .string(spec.name), "fields": .list(spec.fields.map(\.json)), "shards": .count(spec.shardCount),
            "replicas": .count(spec.replicationFactor), "min_in_sync": .count(spec.minInSync),
            "write_consistency": .string(spec.writeConsistency.option), "durability": .string(spec.durability.option),
            "incarnation": .string(incarnation.description),
            "codecs": codecsJSON,
        ])
    }
}

extension WriteConsistency {
    /// As the command line says it.
    var option: String {
        switch self {
        case .allInSync: "all-in-sync"
        case .majority: "majority"
        case .primary: "primary"
        }
    }

    /// - Throws: `invalidArgument` listing what there is.
    init(option: String) throws(NeedletailError) {
        guard let known = Self.allCases.first(where: { $0.option == option }) else {
            throw NeedletailError(.invalidArgument, "\"\(option)\" is no write consistency; use all-in-sync, majority or primary")
        }
        self = known
    }
}
