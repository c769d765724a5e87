import ArgumentParser
import Foundation
import NeedletailClient
import NeedletailJSON
import NeedletailTelemetry

struct SearchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "search", abstract: "Find the points nearest to a vector.",
        discussion: """
            The vector comes from one of:
              --vector '[0.1, 0.2, 0.3]'
              --vector-file queries.fbin --row 7     (.fbin .f16bin .u8bin .i8bin .fvecs .npy)
              --id 42                                (the vector of a point that is there)
            """)

    @Argument var collection: String
    @Option(help: ArgumentHelp("The vector as JSON.", valueName: "json")) var vector: String?
    @Option(help: ArgumentHelp("A file of vectors.", valueName: "file")) var vectorFile: String?
    @Option(help: "Which row of the file, from 0.") var row = 0
    @Option(help: "Search with the vector of this point.") var id: String?
    @Option(help: "The field to search; needed when the collection has several.") var field = ""
    @Option(help: "Points wanted.") var limit = 10
    @Option(help: "Breadth of the walk: larger finds more of the true neighbours and takes longer.") var ef: Int?
    @Option(help: ArgumentHelp("Share of the true neighbours to find, such as 0.95, instead of --ef.", valueName: "share")) var recall: Double?
    @Flag(help: "Compare with every point: the true nearest neighbours.") var exact = false
    @Flag(help: "Print payloads.") var withPayload = false
    @Flag(help: "Print vectors.") var withVectors = false
    @Flag(help: "Answer also when shards are missing.") var allowPartial = false
    @OptionGroup var readers: ReadFlags
    @OptionGroup var options: ClusterOptions

    func validate() throws {
        guard [vector, vectorFile, id].compactMap({ $0 }).count == 1 else {
            throw ValidationError("Give one of --vector, --vector-file and --id.")
        }
        guard (1...Limits.searchLimit).contains(limit) else { throw ValidationError("--limit is 1 to \(Limits.searchLimit).") }
        if let ef, !(1...Limits.ef).contains(ef) { throw ValidationError("--ef is 1 to \(Limits.ef).") }
        if let recall {
            guard recall > 0, recall < 1 else { throw ValidationError("--recall is above 0 and below 1, such as 0.95.") }
            guard ef == nil, !exact else { throw ValidationError("--recall, --ef and --exact each say how thoroughly to search; choose one.") }
        }
        if let id, PointID(id) == nil { throw ValidationError("\"\(id)\" is no id: write a whole number from 0, or a UUID.") }
    }

    func run() async throws {
        try await options.withCluster { cluster in
            let fields = try await cluster.collection(collection, deadline: options.deadline).spec.fields
            let query = NamedQuery(
                field: field, vector: try await queryVector(cluster, fields), limit: limit, ef: ef, recallTarget: recall, exact: exact,
                parts: PointParts(payload: withPayload, vectors: withVectors))
            let start = ContinuousClock.now
            let answer = try await readers.reading {
                try await cluster.search(
                    PointsSearch(collection: collection, queries: [query], allowPartial: allowPartial, read: readers.read, deadline: options.deadline))
            }
            try show(answer, fields, took: start.duration(to: .now))
        }
    }

    private func queryVector(_ cluster: RemoteCluster, _ fields: [VectorField]) async throws -> DenseVector {
        let spec = field.isEmpty && fields.count == 1 ? fields[0] : fields.first { $0.name == field }
        guard let spec else {
            throw NeedletailError(
                .invalidArgument, "say which field to search: --field \(fields.map(\.name).joined(separator: " or --field "))")
        }
        if let vector {
            var reader = JSONReader(vector.utf8)
            let values = try reader.floats()
            try reader.end()
            return try DenseVector(values, for: spec)
        }
        if let vectorFile { return try VectorFile(vectorFile).vector(row) }
        let wanted = PointID(id ?? "") ?? .number(0)
        let found = try await readers.reading {
            try await cluster.get(
                PointsGet(collection: collection, ids: [wanted], parts: PointParts(vectors: true), read: readers.read, deadline: options.deadline))
        }
        guard let point = found.points.first else {
            throw NeedletailError(.notFound, "collection \(collection) has no point \(wanted); try another --id")
        }
        guard let named = point.vectors.first(where: { $0.field == spec.name || $0.field.isEmpty }) else {
            throw NeedletailError(.notFound, "point \(wanted) has no vector in field \(spec.name); try another --id or --field")
        }
        return named.vector
    }

    /// To the error output, so that what reads the points is not disturbed.
    private func show(_ estimate: RecallEstimate, target: Double) {
        let percent = "\(Readable.tenths(estimate.recall * 100)) %"
        let basis = estimate.sampleQueries > 0 ? "\(estimate.sampleQueries) queries" : "points standing in for queries"
        let text =
            if !estimate.isCalibrated {
                "recall \(target) is not calibrated for this limit yet, or much has changed since: searched with the usual ef; ask again in a while"
            } else if !estimate.isReachable {
                "recall \(target) is out of reach: expected \(percent), by \(basis); a codec with more bits or a larger rescore could reach it"
            } else {
                "recall expected: \(percent), by \(basis)"
            }
        StandardStreams.say("needletail: \(text)\n")
    }

    private func show(_ answer: SearchAnswer, _ fields: [VectorField], took: Duration) throws {
        let points = answer.results.first ?? []
        if options.json {
            for point in points {
                print(
                    try PointJSON.line(
                        id: point.id, vectors: point.vectors, payload: point.payload, fields: fields,
                        extra: [("score", "\(point.score)"), ("distance", "\(point.distance)")]))
            }
        } else {
            var table = Table("RANK", "ID", "SCORE", "DISTANCE", withPayload || withVectors ? "POINT" : "")
            for (rank, point) in points.enumerated() {
                var rest = withPayload ? JSONWriter.text(try PayloadCoding.decode(point.payload)) : ""
                for named in point.vectors {
                    let size = fields.first { $0.name == named.field }?.dimensions
                    rest += " \(named.field)=\(named.vector.json(dimensions: size))"
                }
                table.add("\(rank + 1)", point.id.description, "\(point.score)", "\(point.distance)", rest)
            }
            table.print()
            print("\(points.count) points in \(Readable.tenths(took.milliseconds)) ms, \(answer.work.distances) distances computed")
        }
        if let recall, let estimate = answer.estimates.first ?? nil { show(estimate, target: recall) }
        let missing = answer.coverage.shards.count - answer.coverage.answeredCount
        if missing > 0 {
            StandardStreams.say("needletail: \(missing) shards did not answer; their points are missing\n")
        }
    }
}
