import ArgumentParser
import NeedletailClient

struct GetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "get", abstract: "Print points by their ids, one line of JSON each.",
        discussion: "Example: needletail get books 1 2 c0ffee00-0000-4000-8000-000000000001")

    @Argument var collection: String
    @Argument(help: "Numbers or UUIDs.") var ids: [String]
    @Flag(help: "Print the vectors too.") var withVectors = false
    @OptionGroup var readers: ReadFlags
    @OptionGroup var options: ClusterOptions

    func validate() throws {
        for id in ids where PointID(id) == nil {
            throw ValidationError("\"\(id)\" is no id: write a whole number from 0, or a UUID.")
        }
    }

    func run() async throws {
        try await options.withCluster { cluster in
            let fields = try await cluster.collection(collection, deadline: options.deadline).spec.fields
            let answer = try await readers.reading {
                try await cluster.get(
                    PointsGet(
                        collection: collection, ids: ids.compactMap { PointID($0) }, parts: PointParts(payload: true, vectors: withVectors),
                        read: readers.read, deadline: options.deadline))
            }
            for point in answer.points {
                print(try PointJSON.line(id: point.id, vectors: point.vectors, payload: point.payload, fields: fields))
            }
            let missing = Set(ids.compactMap { PointID($0) }).subtracting(answer.points.map(\.id)).sorted()
            if !missing.isEmpty {
                throw NeedletailError(
                    .notFound, "collection \(collection) has no point \(missing.map(\.description).joined(separator: ", "))")
            }
        }
    }
}
