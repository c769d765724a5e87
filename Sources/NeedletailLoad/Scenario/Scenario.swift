/// What a load test does, from a YAML file. Every value is in its range: `ScenarioKey` says what each one is.
public struct Scenario: Sendable, Codable, Equatable {
    public var name: String
    public var about: String
    public var seed: UInt64
    public var target: Target
    public var client: Client
    public var data: DataSpec
    public var collection: CollectionPlan
    public var phases: [Phase]

    public enum Target: Sendable, Codable, Equatable {
        case endpoints([String])
        case local(workers: Int, workerFlags: [String], coordinatorFlags: [String])
    }

    public struct Client: Sendable, Codable, Equatable {
        public var connections: Int
        public var threads: Int
        public var outstanding: Int
    }

    /// Paths are absolute, or relative to the folder that the program runs in.
    public struct DataSpec: Sendable, Codable, Equatable {
        /// nil: made-up vectors.
        public var base: String?
        public var query: String?
        public var points: Int
        public var spare: Int
        public var dimensions: Int
        public var queries: Int
        public var metric: String
        public var truth: Bool
    }

    public struct CollectionPlan: Sendable, Codable, Equatable {
        public var name: String
        public var shards: Int
        public var replicas: Int
        public var index: String
        public var tenants: Int
        public var skew: Double
        public var create: Bool
        public var replace: Bool
        public var load: Bool
        public var settle: Double

        /// The collection of each tenant.
        public var names: [String] { tenants == 1 ? [name] : (1...tenants).map { "\(name)-\($0)" } }
    }

    public struct Phase: Sendable, Codable, Equatable {
        public var name: String
        public var seconds: Double
        public var arrivals: ArrivalKind
        public var rate: Double
        public var workers: Int
        public var mix: [Share]
        public var search: Search
        public var write: Write
        public var bulk: Bulk?
        public var find: Find?
        public var faults: [Fault]
    }

    public enum ArrivalKind: String, Sendable, Codable {
        case poisson, constant, closed
    }

    /// An operation's weight in a mix.
    public struct Share: Sendable, Codable, Equatable {
        public var operation: OperationKind
        public var weight: Double
    }

    public struct Search: Sendable, Codable, Equatable {
        public var limit: Int
        public var ef: Int
        public var recallTarget: Double
        public var queries: Int
        public var partial: Bool
        public var read: String
        public var deadline: Double
    }

    public struct Write: Sendable, Codable, Equatable {
        public var points: Int
        public var deadline: Double
    }

    public struct Bulk: Sendable, Codable, Equatable {
        public var streams: Int
        public var points: Int
    }

    /// An objective, and where to look for the highest rate that meets it.
    public struct Find: Sendable, Codable, Equatable {
        public var percentile: Double
        public var milliseconds: Double
        public var recall: Double
        public var failed: Double
        public var from: Double
        public var to: Double
        public var precision: Double
        public var tries: Int
        public var step: Double
        public var confirm: Double
    }

    /// Whether rows come and go, so that what is true changes with time.
    public var changesRows: Bool {
        phases.contains { phase in
            phase.mix.contains { $0.operation == .delete } || phase.mix.contains { $0.operation == .upsert } && data.spare > 0
        }
    }
    public var hasBulkPhase: Bool { phases.contains { $0.bulk != nil } }
}

/// What a request does.
public enum OperationKind: String, Sendable, Codable, CaseIterable {
    case search, batch, upsert, delete
    /// A write of the bulk load.
    case load
}
