import NeedletailCore

/// Something that is done to the cluster at a given time.
public struct Fault: Sendable, Codable, Equatable {
    public enum Deed: Sendable, Codable, Equatable {
        case kill(Member)
        case pause(Member, seconds: Double)
        case slow(Member, share: Double, seconds: Double)
        case start(Member)
        case restart(Member)
        case join
        case drain(Member)
        case undrain(Member)
        case move(shard: UInt32, to: Member)
        case run(String)
    }

    /// A process of a local cluster, or a worker of any cluster by its address.
    public enum Member: Sendable, Codable, Equatable {
        case coordinator
        /// From 1.
        case worker(Int)
        case address(String)

        /// - Returns: nil unless it is `coordinator`, `worker N` or host:port.
        init?(_ text: String) {
            let words = text.split(separator: " ")
            if words == ["coordinator"] {
                self = .coordinator
            } else if words.count == 2, words[0] == "worker", let number = Int(words[1]), number > 0 {
                self = .worker(number)
            } else if words.count == 1, (try? Endpoint.parse(text)) != nil {
                self = .address(text)
            } else {
                return nil
            }
        }

        public var text: String {
            switch self {
            case .coordinator: "coordinator"
            case .worker(let number): "worker \(number)"
            case .address(let address): address
            }
        }
    }

    /// Seconds from the start of the phase.
    public var at: Double
    public var name: String
    public var deed: Deed

    /// Whether it needs processes that this program started.
    var isLocalOnly: Bool {
        switch deed {
        case .kill, .pause, .slow, .start, .restart, .join: true
        case .drain(let member), .undrain(let member), .move(_, let member):
            if case .address = member { false } else { true }
        case .run: false
        }
    }

    /// The workers named.
    var member: Member? {
        switch deed {
        case .kill(let member), .pause(let member, _), .slow(let member, _, _), .start(let member), .restart(let member),
            .drain(let member),
            .undrain(let member), .move(_, let member):
            member
        case .join, .run: nil
        }
    }
}

extension Fault {
    private static let deeds = ["kill", "pause", "slow", "start", "restart", "join", "drain", "undrain", "move", "run"]

    /// - Throws: `invalidArgument` that names the place.
    init(_ tree: ScenarioTree) throws(NeedletailError) {
        try tree.required("at")
        at = tree.number("at")
        let given = Self.deeds.filter(tree.has)
        guard given.count == 1, let deed = given.first, let object = tree.text(deed) else {
            throw tree.error(
                "has exactly one of \(Self.deeds.joined(separator: ", ")), not \(given.isEmpty ? "none" : given.joined(separator: " and "))"
            )
        }
        func member(_ key: String, _ text: String) throws(NeedletailError) -> Member {
            guard let member = Member(text) else {
                throw tree.error(key, "is \"worker 1\", \"coordinator\" or host:port, not \"\(text)\"")
            }
            return member
        }
        let seconds = tree.number("seconds")
        var text = deed + " " + object
        switch deed {
        case "kill": self.deed = .kill(try member(deed, object))
        case "pause":
            (self.deed, text) = (
                .pause(try member(deed, object), seconds: seconds), "pause \(object) for \(ScenarioKey.plain(seconds)) s"
            )
        case "slow":
            let share = tree.number("share")
            (self.deed, text) = (
                .slow(try member(deed, object), share: share, seconds: seconds),
                "\(object) slowed for \(ScenarioKey.plain(seconds)) s"
            )
        case "start": self.deed = .start(try member(deed, object))
        case "restart": self.deed = .restart(try member(deed, object))
        case "join":
            guard object == "worker" else { throw tree.error(deed, "is \"worker\", not \"\(object)\"") }
            (self.deed, text) = (.join, "a worker joins")
        case "drain": self.deed = .drain(try member(deed, object))
        case "undrain": self.deed = .undrain(try member(deed, object))
        case "move":
            let words = object.split(separator: " ")
            guard words.count == 2, words[0] == "shard", let shard = UInt32(words[1]) else {
                throw tree.error(deed, "is \"shard 0\", not \"\(object)\"")
            }
            guard let to = tree.text("to") else { throw tree.error("lacks `to`, the worker that the shard moves to") }
            (self.deed, text) = (.move(shard: shard, to: try member("to", to)), "\(object) moves to \(to)")
        default: self.deed = .run(object)
        }
        name = tree.text("name") ?? text
    }
}
