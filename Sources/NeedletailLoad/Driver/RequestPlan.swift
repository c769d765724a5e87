import NeedletailSyntheticSets

/// Draws requests: which operation, whose collection, which query. The same seed draws the same.
struct RequestPlan: Sendable {
    struct Request: Sendable, Equatable {
        var operation: OperationKind
        var tenant: Int
        var query: Int
        /// 0 ..< 1: from where rows are taken that are written again.
        var place: Double
    }

    private let operations: [OperationKind]
    private let mix: WeightedChoice
    private let tenants: WeightedChoice
    private let queries: Int
    private var random: SeededGenerator

    init(_ phase: Scenario.Phase, _ collection: Scenario.CollectionPlan, queries: Int, seed: UInt64, branch: Int) {
        operations = phase.mix.map(\.operation)
        mix = WeightedChoice(phase.mix.map(\.weight))
        tenants = .zipf(count: collection.tenants, exponent: collection.skew)
        self.queries = queries
        random = SeededGenerator(seed: seed ^ 0x6d69_78, branch: branch)
    }

    mutating func next() -> Request {
        Request(
            operation: operations[mix.next(&random)], tenant: tenants.next(&random),
            query: Int.random(in: 0..<queries, using: &random), place: random.uniform())
    }

    /// Names under which outcomes are counted. Of skewed tenants the busiest is counted apart, so that one can see what it does to others.
    static func kinds(_ collection: Scenario.CollectionPlan) -> [String] {
        let all = OperationKind.allCases.map(\.rawValue)
        return collection.tenants == 1 || collection.skew == 0
            ? all : all.map { "\($0), busiest tenant" } + all.map { "\($0), other tenants" }
    }

    /// Index in `kinds`.
    static func kind(_ operation: OperationKind, tenant: Int, _ collection: Scenario.CollectionPlan) -> Int {
        let place = OperationKind.allCases.firstIndex(of: operation) ?? 0
        return collection.tenants == 1 || collection.skew == 0 || tenant == 0 ? place : place + OperationKind.allCases.count
    }
}
