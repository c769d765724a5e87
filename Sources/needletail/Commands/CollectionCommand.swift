import ArgumentParser
import NeedletailClient
import NeedletailJSON

struct CollectionCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "collection", abstract: "Make, list, show, train and delete collections.",
        subcommands: [Create.self, List.self, Show.self, Update.self, Train.self, Delete.self])

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a collection.",
            discussion: """
                A field is NAME:DIMENSIONS:METRIC[:ELEMENT].
                  METRIC   l2, cosine, dot, or hamming (for element bit)
                  ELEMENT  f32 (the default), f16, u8 or bit: what vectors are stored as

                An index says what the graph walks on: TRANSFORM,GRAPH,CODEC,RESCORE, each optional.
                  TRANSFORM  prefixN, centre, rotate, pcaN, leanvecN, whitenN or fftN: fewer or other dimensions
                  GRAPH      hnsw(m=16,ef_construction=120)
                  CODEC      lvq8, lvq4, lvq4x8, f16 or f32: less memory to read; none walks on the vectors themselves
                  RESCORE    rescoreN: how many of the nearest are measured again in full precision
                  A codec is trained by the cluster once the collection holds enough points.

                Example: needletail collection create papers --field text:768:cosine --index leanvec160,lvq8
                Example: needletail collection create books --field text:384:cosine --field cover:512:l2:f16 --shards 4
                """)

        @Argument(help: "Its name: letters, digits, '.', '_' and '-'.")
        var name: String
        @Option(name: .long, help: ArgumentHelp("A vector field; repeat for several.", valueName: "name:dims:metric[:element]"))
        var field: [String]
        @Option(
            name: .long, parsing: .singleValue,
            help: ArgumentHelp("The index of all fields, or with NAME= of one; repeat for several.", valueName: "[name=]spec"))
        var index: [String] = []
        @Option(help: "Shards the points are divided into, 1 to 256; they can be split later.")
        var shards = 1
        @Option(help: "Copies of each shard, 1 to 7, each on a worker of its own.")
        var replicas = 1
        @Option(help: "Refuse writes while fewer replicas of a shard are in sync.")
        var minInSync = 1
        @Option(help: "How many replicas have a write when it is acknowledged: all-in-sync, majority or primary.")
        var consistency = WriteConsistency.allInSync.option
        @Option(help: "Links of a graph node, 4 to 128: more find better and take memory.")
        var m = GraphParameters().m
        @Option(help: "Breadth of the search when a point is inserted, m to 4096: more make a better graph and load slower.")
        var efConstruction = GraphParameters().efConstruction
        @Option(help: "every-commit (a write is on disk when acknowledged), or an interval such as 200ms between syncs.")
        var durability = "every-commit"
        @OptionGroup var options: ClusterOptions

        func validate() throws {
            if field.isEmpty { throw ValidationError("Give at least one --field, for example --field text:384:cosine.") }
            _ = try Durability(option: durability)
            _ = try WriteConsistency(option: consistency)
            _ = try fields(GraphParameters())
        }

        private func fields(_ graph: GraphParameters) throws -> [VectorField] {
            try VectorField.index(try field.map { try VectorField(option: $0, graph: graph) }, options: index)
        }

        func run() async throws {
            let spec = CollectionSpec(
                name: name, fields: try fields(GraphParameters(m: m, efConstruction: efConstruction)), shardCount: shards,
                replicationFactor: replicas, durability: try Durability(option: durability),
                writeConsistency: try WriteConsistency(option: consistency), minInSync: minInSync)
            try spec.validate()
            try await options.withCluster { cluster in
                let info = try await cluster.createCollection(spec, deadline: options.deadline)
                if options.json { print(JSONWriter.text(info.json)) } else { print("made collection \(name)") }
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List all collections.")
        @OptionGroup var options: ClusterOptions

        func run() async throws {
            try await options.withCluster { cluster in
                let infos = try await cluster.collections(deadline: options.deadline)
                if options.json { return print(JSONWriter.text(.list(infos.map(\.json)))) }
                if infos.isEmpty {
                    return print("no collections yet; make one with: needletail collection create NAME --field NAME:DIMS:METRIC")
                }
                var table = Table("COLLECTION", "SHARDS", "POINTS", "FIELDS")
                let counts = try await counts(infos, cluster)
                for info in infos {
                    table.add(
                        info.spec.name, "\(info.spec.shardCount)", counts[info.spec.name]?.text ?? "",
                        info.spec.fields.map(\.option).joined(separator: " "))
                }
                table.print()
            }
        }

        /// Side by side, so that a worker that hangs is waited for once and not once for each collection.
        private func counts(_ infos: [CollectionInfo], _ cluster: RemoteCluster) async throws -> [String: PointCount] {
            let timeout = options.timeout
            return try await withThrowingTaskGroup(of: (String, PointCount).self) { group in
                for info in infos {
                    group.addTask { (info.spec.name, try await PointCount.of(info.spec.name, cluster, deadline: ClusterOptions.deadline(timeout))) }
                }
                return try await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show one collection.")
        @Argument var name: String
        @OptionGroup var options: ClusterOptions

        func run() async throws {
            try await options.withCluster { cluster in
                let info = try await cluster.collection(name, deadline: options.deadline)
                let count = try await PointCount.of(name, cluster, deadline: options.deadline)
                if options.json {
                    guard case .map(var entries) = info.json else { return }
                    entries["points"] = count.json
                    return print(JSONWriter.text(entries))
                }
                let spec = info.spec
                print("collection  \(name)\npoints      \(count.text)\nshards      \(spec.shardCount)\ndurability  \(spec.durability.option)")
                print("replicas    \(spec.replicationFactor)  (writes: \(spec.writeConsistency.option), at least \(spec.minInSync) in sync)")
                for (number, field) in info.spec.fields.enumerated() {
                    print("field       \(field.option)  (m \(field.graph.m), ef_construction \(field.graph.efConstruction))\n  index     \(field.index)")
                    if let codec = info.codec(number) { print("  codec     \(codec.option)") }
                }
            }
        }
    }

    struct Update: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Change a collection: durability, replicas, write consistency. What is left out stays as it is.",
            discussion: """
                New replicas are filled in the background while reads and writes go on; `needletail status` shows when they are in sync.

                Example: needletail collection update papers --replicas 3 --min-in-sync 2
                """)
        @Argument var name: String
        @Option(help: "Copies of each shard, 1 to 7.") var replicas: Int?
        @Option(help: "Refuse writes while fewer replicas of a shard are in sync.") var minInSync: Int?
        @Option(help: "all-in-sync, majority or primary.") var consistency: String?
        @Option(help: "every-commit, or an interval such as 200ms.") var durability: String?
        @OptionGroup var options: ClusterOptions

        func run() async throws {
            let changes = CollectionChanges(
                durability: try durability.map { try Durability(option: $0) }, replicationFactor: replicas,
                writeConsistency: try consistency.map { try WriteConsistency(option: $0) }, minInSync: minInSync)
            guard changes != CollectionChanges() else { throw ValidationError("Say what to change, for example --replicas 2.") }
            try await options.withCluster { cluster in
                let info = try await cluster.updateCollection(name, changes: changes, deadline: options.deadline)
                if options.json { print(JSONWriter.text(info.json)) } else { print("changed collection \(name)") }
            }
        }
    }

    struct Train: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Train the codecs of a collection now.",
            discussion: """
                Without this it happens by itself when the collection has enough points: 2,000, or four for each dimension that the
                transform leaves if that is more. Shards then encode in the background; `collection show` tells how far they are.
                With --field a codec that is trained is trained anew, on a new sample: worth it when the vectors have become others.
                """)
        @Argument var name: String
        @Option(help: "The field; all that are not trained when left out.") var field = ""
        @Option(help: "A file of queries for leanvec(queries): .fbin or a .npy of float32.") var queries: String?
        @OptionGroup var options: ClusterOptions

        func run() async throws {
            var request = CollectionTraining(collection: name, field: field)
            if let queries { request.queries = try VectorFile(queries).floats }
            try await options.withCluster { [request] cluster in
                var request = request
                request.deadline = options.deadline
                let info = try await cluster.train(request)
                if options.json { return print(JSONWriter.text(info.json)) }
                for (number, field) in info.spec.fields.enumerated() {
                    if let codec = info.codec(number) { print("field \(field.name): \(codec.option)") }
                }
            }
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Delete a collection and all its points.")
        @Argument var name: String
        @Flag(help: "Succeed also when there is no such collection.") var ignoreMissing = false
        @OptionGroup var options: ClusterOptions

        func run() async throws {
            try await options.withCluster { cluster in
                let deleted = try await cluster.deleteCollection(name, ignoreMissing: ignoreMissing, deadline: options.deadline)
                if options.json { return print(JSONWriter.text(["deleted": .bool(deleted)])) }
                print(deleted ? "deleted collection \(name)" : "there was no collection \(name)")
            }
        }
    }
}
