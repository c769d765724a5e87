extension ScenarioKey {
    /// Every key there is, sections before what is in them.
    public static let all: [ScenarioKey] = [
        ScenarioKey("name", .text, nil, "Title of the report. Required."),
        ScenarioKey("about", .text, "", "A sentence or two for the reader of the report."),
        ScenarioKey(
            "seed", .integer(0...Int(Int32.max)), "1",
            "Of arrivals, of the choice of queries and operations, and of made-up vectors."),

        ScenarioKey("target", .section, nil, "What is loaded: either a running cluster or one that is started here. Required."),
        ScenarioKey(
            "target.endpoints", .texts, nil, "Coordinators of a running cluster, host:port, with TLS https://host:port. Connections are spread over them."),
        ScenarioKey(
            "target.local", .section, nil,
            "Starts one coordinator and some shard workers on this machine, and stops them in the end."),
        ScenarioKey("target.local.workers", .integer(1...32), "2", "Shard workers."),
        ScenarioKey("target.local.worker_flags", .texts, nil, "Further flags of every shard worker."),
        ScenarioKey("target.local.coordinator_flags", .texts, nil, "Further flags of the coordinator."),

        ScenarioKey("client", .section, nil, "How each load process connects."),
        ScenarioKey("client.connections", .integer(1...1024), "4", "Connections of a load process; requests take turns on them."),
        ScenarioKey("client.threads", .integer(1...64), "1", "Threads that serve the connections."),
        ScenarioKey(
            "client.outstanding", .integer(1...1_000_000), "1000",
            "Requests that a load process has under way at most. At the bound the next ones wait, and that wait counts as latency."),

        ScenarioKey("data", .section, nil, "The vectors and the queries."),
        ScenarioKey(
            "data.base", .texts, nil,
            "A file of vectors (.fbin, .f16bin, .u8bin, .i8bin), relative to the scenario; of several the first that exists. Without one, made-up clusters."
        ),
        ScenarioKey("data.query", .texts, nil, "A file of queries; goes with `data.base`."),
        ScenarioKey(
            "data.points", .integer(1...100_000_000), "20000",
            "Points that are loaded: the first rows of the set, as many as there are."),
        ScenarioKey(
            "data.spare", .integer(0...100_000_000), "0",
            "Further rows, held back: upserts bring them in while deletes take the oldest out."),
        ScenarioKey("data.dimensions", .integer(1...16_384), "64", "Of made-up vectors."),
        ScenarioKey("data.queries", .integer(1...1_000_000), "200", "Queries to choose from."),
        ScenarioKey("data.metric", .choice(["l2", "cosine", "dot"]), "l2", "Metric of the field."),
        ScenarioKey("data.truth", .flag, "true", "Computes the exact answers first and judges every answer by them."),

        ScenarioKey("collection", .section, nil, "The collection, which has one vector field."),
        ScenarioKey("collection.name", .text, "load", "Its name; with tenants their names are this and a number."),
        ScenarioKey("collection.shards", .integer(1...256), "2", "Shards."),
        ScenarioKey("collection.replicas", .integer(1...16), "1", "Copies of each shard."),
        ScenarioKey("collection.index", .text, "none", "Index spec of the field, such as lvq8."),
        ScenarioKey("collection.tenants", .integer(1...1_000), "1", "Collections that share the points evenly."),
        ScenarioKey("collection.skew", .number(0...5), "0", "Tenant t gets requests in proportion to 1/t^skew; 0: all the same."),
        ScenarioKey("collection.create", .flag, "true", "Makes the collection; false: it is there."),
        ScenarioKey(
            "collection.replace", .flag, "false", "Deletes a collection of that name first. Without it an existing one is refused."),
        ScenarioKey(
            "collection.load", .flag, "true", "Loads the points before the first phase, unmeasured, unless a phase has `bulk`."),
        ScenarioKey("collection.settle", .number(0...3600), "1", "Seconds of rest after loading, once all replicas are in sync."),

        ScenarioKey("phases", .list, nil, "What happens, one after the other. Required."),
        ScenarioKey("phases[].name", .text, nil, "Title in the report. Required."),
        ScenarioKey("phases[].seconds", .number(0.1...1_000_000), "10", "How long requests are sent."),
        ScenarioKey(
            "phases[].arrivals", .choice(["poisson", "constant", "closed"]), "poisson",
            "Open loop: requests start at random or equal distances whatever becomes of earlier ones. Closed loop: each worker waits for its answer."
        ),
        ScenarioKey(
            "phases[].rate", .number(0.1...10_000_000), "100", "Requests a second of all load processes together; open loop."),
        ScenarioKey("phases[].workers", .integer(1...100_000), "1", "Workers of all load processes together; closed loop."),
        ScenarioKey("phases[].mix", .section, nil, "Shares of the operations; `search` alone when absent."),
        ScenarioKey("phases[].mix.search", .number(0...1_000_000), "0", "Searches with one query."),
        ScenarioKey("phases[].mix.batch", .number(0...1_000_000), "0", "Searches with many queries."),
        ScenarioKey(
            "phases[].mix.upsert", .number(0...1_000_000), "0",
            "Writes of rows that are held back, else of rows that are there, unchanged."),
        ScenarioKey("phases[].mix.delete", .number(0...1_000_000), "0", "Deletions of the oldest points."),
        ScenarioKey("phases[].search", .section, nil, "Of searches."),
        ScenarioKey("phases[].search.limit", .integer(1...10_000), "10", "Points wanted; recall is at this limit."),
        ScenarioKey("phases[].search.ef", .integer(0...100_000), "0", "Breadth of the walk; 0: the cluster's default."),
        ScenarioKey("phases[].search.recall_target", .number(0...0.9999), "0", "Asks for a recall instead of `ef`; 0: does not."),
        ScenarioKey("phases[].search.queries", .integer(1...1_000), "10", "Queries of a batch."),
        ScenarioKey("phases[].search.partial", .flag, "false", "Takes answers that lack shards; they are counted as uncovered."),
        ScenarioKey("phases[].search.read", .choice(["any", "primary"]), "any", "Which replicas may answer."),
        ScenarioKey(
            "phases[].search.deadline", .number(0.001...3600), "1", "Seconds from sending after which a search has failed."),
        ScenarioKey("phases[].write", .section, nil, "Of upserts and deletions."),
        ScenarioKey("phases[].write.points", .integer(1...10_000), "10", "Points of a write."),
        ScenarioKey("phases[].write.deadline", .number(0.001...3600), "10", "Seconds from sending after which a write has failed."),
        ScenarioKey("phases[].bulk", .section, nil, "Makes this phase the bulk load: it ends when all points are in."),
        ScenarioKey("phases[].bulk.streams", .integer(1...1_000), "4", "Writes under way at a time."),
        ScenarioKey("phases[].bulk.points", .integer(1...10_000), "500", "Points of a write."),
        ScenarioKey(
            "phases[].find", .section, nil,
            "Looks for the highest rate that meets the objective, by doubling and bisection. `rate` and `seconds` do not count."),
        ScenarioKey("phases[].find.percentile", .number(1...99.999), "99", "The percentile that the objective is of."),
        ScenarioKey("phases[].find.milliseconds", .number(0.01...3_600_000), "20", "It must not be above this."),
        ScenarioKey("phases[].find.recall", .number(0...1), "0", "Recall must not be below this."),
        ScenarioKey("phases[].find.failed", .number(0...1), "0", "Share of requests that may fail."),
        ScenarioKey("phases[].find.from", .number(0.1...10_000_000), "100", "The first rate."),
        ScenarioKey("phases[].find.to", .number(0.1...10_000_000), "100000", "No higher rate is tried."),
        ScenarioKey(
            "phases[].find.precision", .number(0.001...1), "0.05",
            "Ends when a rate that is met and one that is missed are as near as this."),
        ScenarioKey(
            "phases[].find.tries", .integer(1...10), "2", "A rate is missed when it misses so many times running: one stall of other work is no miss."),
        ScenarioKey("phases[].find.step", .number(1...3600), "4", "Seconds of one rate; the first second does not count."),
        ScenarioKey(
            "phases[].find.confirm", .number(0...3600), "10",
            "Seconds for which the rate found must hold in the end; if not, the next lower is tried."),
        ScenarioKey("phases[].faults", .list, nil, "What is done to the cluster meanwhile. Each has `at` and one deed."),
        ScenarioKey("phases[].faults[].at", .number(0...1_000_000), nil, "Seconds from the start of the phase. Required."),
        ScenarioKey("phases[].faults[].name", .text, nil, "What the report calls it; the deed itself when absent."),
        ScenarioKey(
            "phases[].faults[].kill", .text, nil,
            "`worker 1`, or `coordinator`: ends it at once, as kill -9 does. Local clusters only, as the next ones."),
        ScenarioKey("phases[].faults[].pause", .text, nil, "Stops it without ending it, for `seconds`."),
        ScenarioKey("phases[].faults[].slow", .text, nil, "Lets it run `share` of the time, for `seconds`."),
        ScenarioKey("phases[].faults[].start", .text, nil, "Starts it again after a kill, on its data and its port."),
        ScenarioKey("phases[].faults[].restart", .text, nil, "Asks it to end, waits until it has, and starts it again."),
        ScenarioKey("phases[].faults[].join", .text, nil, "`worker`: one more joins the cluster."),
        ScenarioKey(
            "phases[].faults[].drain", .text, nil, "`worker 1`, or host:port of any cluster's: has it emptied, by the public API."),
        ScenarioKey("phases[].faults[].undrain", .text, nil, "Takes that back."),
        ScenarioKey("phases[].faults[].move", .text, nil, "`shard 0`: moves a replica of it to the worker named by `to`."),
        ScenarioKey("phases[].faults[].run", .text, nil, "A shell command, for what is to happen on other hosts."),
        ScenarioKey("phases[].faults[].to", .text, nil, "Where a move goes: `worker 2`, or host:port."),
        ScenarioKey("phases[].faults[].seconds", .number(0.01...1_000_000), "1", "How long a pause or slowness lasts."),
        ScenarioKey("phases[].faults[].share", .number(0.01...0.99), "0.1", "Share of the time that a slowed process runs."),
    ]

    static let byPath = Dictionary(uniqueKeysWithValues: all.map { ($0.path, $0) })

    /// The names of the keys directly in a section.
    static func names(in section: String) -> [String] {
        let prefix = section.isEmpty ? "" : section + "."
        return all.compactMap { key in
            guard key.path.hasPrefix(prefix) else { return nil }
            let rest = key.path.dropFirst(prefix.count)
            return rest.isEmpty || rest.contains(".") || rest.contains("[") ? nil : String(rest)
        }
    }
}
