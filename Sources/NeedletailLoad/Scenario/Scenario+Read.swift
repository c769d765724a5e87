import Foundation
public import NeedletailCore

extension Scenario {
    /// - Throws: `invalidArgument` that says what to mend, and where.
    public static func read(file: String, overrides: [String] = []) throws(NeedletailError) -> Scenario {
        guard let text = try? String(contentsOfFile: file, encoding: .utf8) else {
            throw NeedletailError(
                .invalidArgument, "\(file) cannot be read: give the path of a scenario, for example Deploy/load/steady-search.yaml")
        }
        return try Scenario(text: text, file: file, overrides: overrides)
    }

    /// - Parameter file: for messages, and what paths in it are relative to.
    public init(text: String, file: String, overrides: [String] = []) throws(NeedletailError) {
        let tree = try ScenarioTree(text: text, file: file, overrides: overrides)
        for name in ["name", "target", "phases"] { try tree.required(name) }
        name = tree.text("name") ?? ""
        about = tree.text("about") ?? ""
        seed = UInt64(tree.integer("seed"))
        target = try Self.target(tree.section("target"))
        let client = tree.section("client")
        self.client = Client(
            connections: client.integer("connections"), threads: client.integer("threads"),
            outstanding: client.integer("outstanding"))
        data = try Self.data(tree.section("data"), folder: URL(fileURLWithPath: file).deletingLastPathComponent())
        collection = try Self.collection(tree.section("collection"))
        phases = []
        for item in tree.items("phases") { phases.append(try Self.phase(item)) }
        guard !phases.isEmpty else { throw tree.error("phases", "has at least one phase") }
        try checkTogether(tree)
    }

    private static func target(_ tree: ScenarioTree) throws(NeedletailError) -> Target {
        let endpoints = tree.texts("endpoints")
        guard tree.has("local") != tree.has("endpoints") else { throw tree.error("has either `endpoints` or `local`") }
        for endpoint in endpoints {
            guard (try? Endpoint.parse(Endpoint.scheme(of: endpoint).address, defaultPort: 7460)) != nil else {
                throw tree.error("endpoints", "has host:port, for example 10.0.0.2:7460, not \"\(endpoint)\"")
            }
        }
        guard endpoints.isEmpty else { return .endpoints(endpoints) }
        guard tree.has("local") else { throw tree.error("endpoints", "names at least one coordinator") }
        let local = tree.section("local")
        return .local(
            workers: local.integer("workers"), workerFlags: local.texts("worker_flags"),
            coordinatorFlags: local.texts("coordinator_flags"))
    }

    private static func data(_ tree: ScenarioTree, folder: URL) throws(NeedletailError) -> DataSpec {
        /// Of several the first that exists; none: made-up vectors.
        func existing(_ name: String) throws(NeedletailError) -> String? {
            let paths = tree.texts(name).map { URL(fileURLWithPath: $0, relativeTo: folder).standardizedFileURL.path }
            if let found = paths.first(where: { FileManager.default.isReadableFile(atPath: $0) }) { return found }
            guard paths.count == 1 else { return nil }
            throw tree.error(name, "names \(paths[0]), which cannot be read; leave it out for made-up vectors")
        }
        let (base, query) = (try existing("base"), try existing("query"))
        guard (base == nil) == (query == nil) else { throw tree.error("has both `base` and `query`, or neither") }
        return DataSpec(
            base: base, query: query, points: tree.integer("points"), spare: tree.integer("spare"),
            dimensions: tree.integer("dimensions"),
            queries: tree.integer("queries"), metric: tree.text("metric") ?? "l2", truth: tree.flag("truth"))
    }

    private static func collection(_ tree: ScenarioTree) throws(NeedletailError) -> CollectionPlan {
        let plan = CollectionPlan(
            name: tree.text("name") ?? "load", shards: tree.integer("shards"), replicas: tree.integer("replicas"),
            index: tree.text("index") ?? "none",
            tenants: tree.integer("tenants"), skew: tree.number("skew"), create: tree.flag("create"), replace: tree.flag("replace"),
            load: tree.flag("load"), settle: tree.number("settle"))
        guard CollectionSpec.isValid(name: plan.name) else {
            throw tree.error("name", "has letters, digits, '.', '_' or '-' and begins with a letter or digit, not \"\(plan.name)\"")
        }
        do throws(NeedletailError) {
            _ = try IndexSpec(text: plan.index)
        } catch {
            throw tree.error("index", error.message)
        }
        return plan
    }

    private static func phase(_ tree: ScenarioTree) throws(NeedletailError) -> Phase {
        try tree.required("name")
        let (search, write) = (tree.section("search"), tree.section("write"))
        let arrivals = ArrivalKind(rawValue: tree.text("arrivals") ?? "") ?? .poisson
        if arrivals == .closed, tree.has("rate") || tree.has("find") {
            throw tree.error("is a closed loop, which has `workers` and no rate; for a rate use poisson or constant")
        }
        if arrivals != .closed, tree.has("workers") {
            throw tree.error("workers", "goes with `arrivals: closed`; an open loop has a `rate`")
        }
        if tree.has("bulk"), tree.has("find") || tree.has("mix") || tree.has("rate") {
            throw tree.error("bulk", "stands alone: without mix, rate and find")
        }
        var faults: [Fault] = []
        for item in tree.items("faults") { faults.append(try Fault(item)) }
        let bulk = tree.section("bulk")
        return Phase(
            name: tree.text("name") ?? "", seconds: tree.number("seconds"), arrivals: arrivals, rate: tree.number("rate"),
            workers: tree.integer("workers"),
            mix: try mix(tree),
            search: Search(
                limit: search.integer("limit"), ef: search.integer("ef"), recallTarget: search.number("recall_target"),
                queries: search.integer("queries"),
                partial: search.flag("partial"), read: search.text("read") ?? "any", deadline: search.number("deadline")),
            write: Write(points: write.integer("points"), deadline: write.number("deadline")),
            bulk: tree.has("bulk") ? Bulk(streams: bulk.integer("streams"), points: bulk.integer("points")) : nil,
            find: tree.has("find") ? try find(tree.section("find")) : nil, faults: faults.sorted { $0.at < $1.at })
    }

    private static func mix(_ tree: ScenarioTree) throws(NeedletailError) -> [Share] {
        guard tree.has("mix") else { return [Share(operation: .search, weight: 1)] }
        let mix = tree.section("mix")
        let shares = [OperationKind.search, .batch, .upsert, .delete].map { Share(operation: $0, weight: mix.number($0.rawValue)) }
            .filter { $0.weight > 0 }
        guard !shares.isEmpty else {
            throw tree.error("mix", "gives at least one of search, batch, upsert and delete a share above 0")
        }
        return shares
    }

    private static func find(_ tree: ScenarioTree) throws(NeedletailError) -> Find {
        let find = Find(
            percentile: tree.number("percentile"), milliseconds: tree.number("milliseconds"), recall: tree.number("recall"),
            failed: tree.number("failed"), from: tree.number("from"), to: tree.number("to"), precision: tree.number("precision"), tries: tree.integer("tries"),
            step: tree.number("step"), confirm: tree.number("confirm"))
        guard find.from <= find.to else { throw tree.error("from", "is not above `to`") }
        guard find.step >= 2 else { throw tree.error("step", "is at least 2 s: the first second does not count") }
        return find
    }

    private func checkTogether(_ tree: ScenarioTree) throws(NeedletailError) {
        let phases = tree.items("phases")
        for (phase, item) in zip(self.phases, phases) {
            for (fault, place) in zip(phase.faults, item.items("faults").sorted { $0.number("at") < $1.number("at") }) {
                if phase.bulk == nil, phase.find == nil, fault.at >= phase.seconds {
                    throw place.error("at", "is before the end of the phase, which lasts \(ScenarioKey.plain(phase.seconds)) s")
                }
                try check(fault, place)
            }
            if collection.tenants > data.points { throw tree.error("collection", "has no more tenants than there are points") }
            if phase.mix.contains(where: { $0.operation == .delete }), data.points < 100 {
                throw item.error("mix", "deletes: then there are at least 100 points")
            }
        }
        if !collection.create, collection.replace { throw tree.section("collection").error("replace", "goes with `create: true`") }
    }

    private func check(_ fault: Fault, _ place: ScenarioTree) throws(NeedletailError) {
        guard case .local(let workers, _, _) = target else {
            if fault.isLocalOnly {
                throw place.error("needs a local cluster; on a running one use drain, undrain, move with host:port, or run")
            }
            return
        }
        let joined = phases.flatMap(\.faults).count { $0.deed == .join }
        if case .worker(let number)? = fault.member, number > workers + joined {
            throw place.error("names worker \(number), and there are \(workers + joined)")
        }
        switch (fault.deed, fault.member) {
        case (.drain, .coordinator?), (.undrain, .coordinator?), (.move, .coordinator?):
            throw place.error("is for workers, not for the coordinator")
        case (.kill, .address?), (.pause, .address?), (.slow, .address?), (.start, .address?), (.restart, .address?):
            throw place.error("names a process that was started here: \"worker 1\" or \"coordinator\"")
        default: break
        }
    }
}
