import ArgumentParser
import Foundation
import NeedletailClient
import NeedletailJSON

struct ClusterCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cluster",
        abstract: "See where replicas are, and have them moved.",
        discussion: """
            The coordinator that leads keeps each shard's replicas on different nodes (in different zones, if workers were given --zone), and
            the bytes even by the nodes' weights. When nodes join, leave or are drained it moves what it must, a few replicas at a time.
            Reads and writes go on meanwhile: the new replica is filled beside the old one, which leaves when the new one has everything.

              needletail cluster plan                 what would be moved now, and why
              needletail cluster drain NODE           empty a node before it is taken away; --undo takes that back
              needletail cluster forget NODE          take one that is gone off the list
              needletail cluster move books 0 --from NODE --to NODE
              needletail cluster split books 0        cut a shard in two
              needletail cluster merge books 1 2      make two neighbouring shards one
              needletail cluster operations           moves, splits and merges that wait, are under way, or have ended lately
              needletail cluster pause                hold all moves; `resume` lets them go on
            """,
        subcommands: [
            StatusCommand.self, Nodes.self, Shards.self, Plan.self, Drain.self, Forget.self, MoveShard.self, Split.self, Merge.self, Cancel.self, Pause.self,
            Resume.self, Operations.self, Events.self,
        ])
}

extension ClusterCommand {
    struct Nodes: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the shard workers: what they hold, their zones, weights and limits.")
        @OptionGroup var options: ClusterOptions

        func run() async throws {
            try await options.withCluster { cluster in
                let nodes = try await cluster.nodes(deadline: options.deadline)
                if options.json { return print(JSONWriter.text(.list(nodes.map(\.json)))) }
                var table = Table("NODE", "ADDRESS", "STATE", "ZONE", "WEIGHT", "REPLICAS", "POINTS", "WORK", "MEMORY", "OF", "DISK", "OF", "FREE")
                for node in nodes {
                    table.add(
                        Incarnation(node.id).description, node.address, node.state, node.facts.zone, Readable.tenths(node.facts.weight), "\(node.replicas)",
                        "\(node.points)", Readable.tenths(node.work), Readable.bytes(node.memoryBytes), Readable.limit(node.facts.memoryLimitBytes),
                        Readable.bytes(node.diskBytes), Readable.limit(node.facts.diskLimitBytes), Readable.bytes(node.facts.diskFreeBytes))
                }
                table.print()
            }
        }
    }

    struct Shards: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List shards and the nodes of their replicas, the primary first.")
        @Argument(help: "Of this collection; of all when left out.") var collection: String?
        @OptionGroup var options: ClusterOptions

        func run() async throws {
            try await options.withCluster { cluster in
                let shards = try await cluster.shards(of: collection, deadline: options.deadline)
                if options.json { return print(JSONWriter.text(.list(shards.map(\.json)))) }
                var table = Table("COLLECTION", "SHARD", "EPOCH", "POINTS", "DISK", "WORK", "PRIMARY", "IN SYNC", "CATCHING UP")
                for shard in shards {
                    let primary = shard.replicas.first(where: \.isPrimary)
                    func names(_ replicas: [ShardInfo.Replica]) -> String { replicas.map { Incarnation($0.node).description }.joined(separator: " ") }
                    table.add(
                        shard.collection, "\(shard.number)", "\(shard.epoch)", "\(primary?.status?.pointCount ?? 0)",
                        Readable.bytes(primary?.status?.diskBytes ?? 0), Readable.tenths(shard.work), names(shard.replicas.filter(\.isPrimary)),
                        names(shard.replicas.filter { $0.isInSync && !$0.isPrimary }), names(shard.replicas.filter { !$0.isInSync }))
                }
                table.print()
            }
        }
    }

    struct Plan: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show what the cluster would move, split and merge now, and why. Changes nothing.",
            discussion: """
                The moves begin by themselves in this order, a few at a time: at once when replicas are missing or a node is lost or drained, after
                a while of quiet when it is for balance alone. Shards are split and merged one after the other, if the coordinators were
                started with --split-above or --merge-below. Before a change of the cluster, `needletail cluster pause` gives time to look.
                """)
        @OptionGroup var options: ClusterOptions

        func run() async throws {
            try await options.withCluster { cluster in
                let plan = try await cluster.plan(deadline: options.deadline)
                if options.json {
                    return print(
                        JSONWriter.text([
                            "moves": .list(plan.moves.map(\.json)), "reshardings": .list(plan.reshardings.map(\.json)), "held": .string(plan.held),
                        ]))
                }
                if plan.moves.isEmpty { print("nothing to move: every replica is where it belongs") } else { show(plan.moves) }
                for planned in plan.reshardings {
                    switch planned.change {
                    case .split(let order): print("split shard \(order.shard) of \(order.collection): \(planned.reason)")
                    case .merge(let order): print("merge shards \(order.shard) and \(order.other) of \(order.collection): \(planned.reason)")
                    }
                }
                if !plan.held.isEmpty { print("not begun yet: \(plan.held)") }
            }
        }

        private func show(_ moves: [MoveInfo]) {
            var table = Table("COLLECTION", "SHARD", "FROM", "TO", "BYTES", "CAUSE", "WHY")
            for move in moves {
                table.add(move.order.collection, "\(move.order.shard)", move.fromText, move.toText, Readable.bytes(move.bytes), move.cause, move.reason)
            }
            table.print()
            print("\n\(moves.count) moves, \(Readable.bytes(moves.reduce(0) { $0 + $1.bytes }))")
        }
    }

    struct Drain: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Move all replicas off a node, and place none on it.",
            discussion: """
                Then stop the worker, once `needletail cluster nodes` shows no replicas on it. Needs other nodes with room: as many as the collections have
                replicas. With --wait it is over when the moves are, too, so that the node can be forgotten when it is dead.

                Example: needletail cluster drain 3f2a --wait 600
                """)
        @Argument(help: "Its id (the last digits will do), or its address.") var node: String
        @Flag(help: "Let the node take replicas again.") var undo = false
        @Option(help: "Wait so many seconds for the node to be empty.") var wait: Double = 0
        @OptionGroup var options: ClusterOptions

        func run() async throws {
            try await options.withCluster { cluster in
                let id = try NeedletailCommandLine.node(node, among: try await cluster.nodes(deadline: options.deadline))
                var info = try await cluster.drain(id, isDrained: !undo, deadline: options.deadline)
                var isEmpty = undo || wait == 0
                let end = Deadline.after(.milliseconds(Int(wait * 1000)))
                while !isEmpty, !end.isPast {
                    if let newer = try await cluster.nodes(deadline: options.deadline).first(where: { $0.id == id }) { info = newer }
                    // In this order: a move is listed before its replica is gone.
                    let operations = try await cluster.operations(deadline: options.deadline).operations
                    isEmpty = info.replicas == 0 && operations.allSatisfy { $0.move.order.from != id || $0.hasEnded }
                    if !isEmpty { try await Task.sleep(for: .milliseconds(500)) }
                }
                if options.json {
                    print(JSONWriter.text(info.json))
                } else {
                    let state = undo ? "takes replicas again" : "is drained, \(info.replicas) replicas are left on it"
                    print("node \(Incarnation(id)) \(state)")
                }
                if !isEmpty { throw ExitCode.failure }
            }
        }
    }

    struct Forget: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a node that is gone for good from the list.",
            discussion: """
                The worker has been stopped, and no shard counts on it: `drain` it first, also when it is dead. Should it come back all the same, it is taken
                in again, as a new node; what it had is set aside in its folder.

                Example: needletail cluster forget 3f2a
                """)
        @Argument(help: "Its id (the last digits will do), or its address.") var node: String
        @OptionGroup var options: ClusterOptions

        func run() async throws {
            try await options.withCluster { cluster in
                let id = try NeedletailCommandLine.node(node, among: try await cluster.nodes(deadline: options.deadline), isGone: true)
                let info = try await cluster.forget(id, deadline: options.deadline)
                print(options.json ? JSONWriter.text(info.json) : "node \(Incarnation(id)) is forgotten")
            }
        }
    }

    struct MoveShard: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "move", abstract: "Move one replica of a shard, or its primary.",
            discussion: """
                needletail cluster move books 0 --from 3f2a --to 91bc          a replica goes to another node
                needletail cluster move books 0 --to 91bc --lead-only          an in-sync replica becomes the primary

                It is done in the background: `needletail cluster operations` shows how far it is, `cancel` undoes it. What is moved by hand stays there for
                a while before the balance may move it again.
                """)
        @Argument var collection: String
        @Argument(help: "The shard's number.") var shard: UInt32
        @Option(help: "The node that gives its replica up.") var from: String?
        @Option(help: "The node that gets it.") var to: String?
        @Flag(help: "No replica moves: the one on --to becomes the primary.") var leadOnly = false
        @OptionGroup var options: ClusterOptions

        func run() async throws {
            guard from != nil || to != nil else { throw ValidationError("Say --from, --to or both.") }
            try await options.withCluster { cluster in
                let nodes = try await cluster.nodes(deadline: options.deadline)
                let order = MoveOrder(
                    collection: collection, shard: shard, from: try from.map { try NeedletailCommandLine.node($0, among: nodes) },
                    to: try to.map { try NeedletailCommandLine.node($0, among: nodes) }, isLeadOnly: leadOnly)
                let operation = try await cluster.move(order, deadline: options.deadline)
                print(options.json ? JSONWriter.text(operation.json) : "operation \(Incarnation(operation.id)) is under way")
            }
        }
    }

    struct Split: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Cut a shard in two.",
            discussion: """
                Each part gets half of the range of hashes, on the nodes that hold the shard. Nothing is copied between nodes and no graph is built anew;
                reads and writes go on, and writes wait for a moment when the parts take the shard's place. `needletail cluster operations` shows how far
                it is; until the parts serve, `cancel` undoes it.

                Example: needletail cluster split books 0
                """)
        @Argument var collection: String
        @Argument(help: "The shard's number.") var shard: UInt32
        @Option(help: "The last hash of the first part, 16 hexadecimal digits; the middle of the shard's range when left out.") var at: String?
        @OptionGroup var options: ClusterOptions

        func run() async throws {
            let hash = try at.map { text in
                guard text.count == 16, let hash = UInt64(text, radix: 16) else { throw ValidationError("A hash has 16 hexadecimal digits.") }
                return hash
            }
            try await options.withCluster { cluster in
                let order = ShardSplitOrder(collection: collection, shard: shard, at: hash)
                let operation = try await cluster.split(order, deadline: options.deadline)
                print(options.json ? JSONWriter.text(operation.json) : "operation \(Incarnation(operation.id)) is under way")
            }
        }
    }

    struct Merge: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make two neighbouring shards one.",
            discussion: """
                Both have to be on the same nodes, which put them together: the larger one's graph stays, the other one's points are inserted. Reads and
                writes go on, and writes wait for a moment when the merged shard takes the place of both. `needletail cluster operations` shows how far it is;
                until the merged shard serves, `cancel` undoes it. A node needs memory and disk for both twice meanwhile.

                Example: needletail cluster merge books 1 2
                """)
        @Argument var collection: String
        @Argument(help: "A shard's number.") var shard: UInt32
        @Argument(help: "The number of its neighbour.") var other: UInt32
        @OptionGroup var options: ClusterOptions

        func run() async throws {
            try await options.withCluster { cluster in
                let operation = try await cluster.merge(ShardMergeOrder(collection: collection, shard: shard, other: other), deadline: options.deadline)
                print(options.json ? JSONWriter.text(operation.json) : "operation \(Incarnation(operation.id)) is under way")
            }
        }
    }

    struct Cancel: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "End a move, a split or a merge and undo what it did so far.")
        @Argument(help: "The operation, as `needletail cluster operations` shows it.") var operation: String
        @OptionGroup var options: ClusterOptions

        func run() async throws {
            guard operation.count == 16, let id = UInt64(operation, radix: 16) else { throw ValidationError("An operation's id has 16 hexadecimal digits.") }
            try await options.withCluster { cluster in
                let info = try await cluster.cancelMove(id, deadline: options.deadline)
                print(options.json ? JSONWriter.text(info.json) : "operation \(operation) is being undone")
            }
        }
    }

    struct Pause: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Hold all moves where they are, and plan none.",
            discussion: "Also changes of the number of replicas. Reads, writes and changes of primaries after failures go on. It lasts until `resume`.")
        @OptionGroup var options: ClusterOptions

        func run() async throws { try await ClusterCommand.setPaused(true, options) }
    }

    struct Resume: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Let moves go on.")
        @OptionGroup var options: ClusterOptions

        func run() async throws { try await ClusterCommand.setPaused(false, options) }
    }

    private static func setPaused(_ isPaused: Bool, _ options: ClusterOptions) async throws {
        try await options.withCluster { cluster in
            let list = try await cluster.pauseMoves(isPaused, deadline: options.deadline)
            print(options.json ? JSONWriter.text(list.json) : list.isPaused ? "moves are paused" : "moves go on")
        }
    }

    struct Operations: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List moves, splits and merges: those that wait, are under way, and have ended lately.",
            discussion: """
                Steps: adding (waits for its turn), catching up (the new replica is filled), leading (the primary changes), removing, dropping (the old
                replica's files go), done; undoing, undropping, cancelled; failed. Of a split: preparing (its parts follow the shard), sealing (writes
                wait), dropping (the parts serve, the shard's files go), done; unsealing, undropping, cancelled; failed. The same of a merge.
                """)
        @OptionGroup var options: ClusterOptions

        func run() async throws {
            try await options.withCluster { cluster in
                let list = try await cluster.operations(deadline: options.deadline)
                if options.json { return print(JSONWriter.text(list.json)) }
                if list.isPaused { print("moves are paused; `needletail cluster resume` lets them go on\n") }
                if list.operations.isEmpty { return print("no moves, splits or merges") }
                var table = Table("OPERATION", "KIND", "COLLECTION", "SHARD", "FROM", "TO", "BYTES", "STEP", "CAUSE", "WHY")
                for one in list.operations {
                    table.add(
                        Incarnation(one.id).description, one.kind, one.move.order.collection, "\(one.move.order.shard)", one.move.fromText, one.move.toText,
                        Readable.bytes(one.move.bytes), one.step, one.move.cause, one.problem.isEmpty ? one.move.reason : one.problem)
                }
                table.print()
            }
        }
    }

    struct Events: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show what the leader did and saw last: moves, other primaries, in-sync sets.")
        @Option(help: "Only those after this number.") var after: UInt64 = 0
        @OptionGroup var options: ClusterOptions

        func run() async throws {
            try await options.withCluster { cluster in
                let time = Date.ISO8601FormatStyle(timeZone: .current)
                for event in try await cluster.events(after: after, deadline: options.deadline) {
                    if options.json {
                        let entries: Payload = [
                            "number": .count(event.number), "milliseconds": .integer(event.milliseconds), "kind": .string(event.kind),
                            "message": .string(event.message),
                        ]
                        print(JSONWriter.text(entries))
                    } else {
                        let date = Date(timeIntervalSince1970: Double(event.milliseconds) / 1000)
                        print("\(event.number)  \(date.formatted(time))  \(event.kind)  \(event.message)")
                    }
                }
            }
        }
    }
}

enum NeedletailCommandLine {
    /// One digit may be meant for something else, and be a node's by chance.
    private static let leastDigits = 4

    /// The one whose id begins or ends so, or that has this address.
    /// - Parameter isGone: one that is dead is meant. Where a worker was replaced the address is that of both, the dead one and the one in its place.
    static func node(_ text: String, among nodes: [NodeInfo], isGone: Bool = false) throws -> UInt64 {
        let digits = text.lowercased()
        let isLong = digits.count >= leastDigits
        let matches = nodes.filter { node in
            let id = Incarnation(node.id).description
            return node.address == text || isLong && (id.hasPrefix(digits) || id.hasSuffix(digits))
        }
        guard let first = matches.first else {
            let asked =
                isLong
                ? "There is no node whose id begins or ends with \"\(text)\", or with that address"
                : "A node is named by its address, or by at least \(leastDigits) digits of its id"
            throw ValidationError("\(asked); `needletail cluster nodes` shows those there are.")
        }
        if matches.count == 1 { return first.id }
        // One address is one living node's.
        let meant = matches.filter { $0.address == text && $0.isAlive != isGone }
        if meant.count == 1 { return meant[0].id }
        let ids = matches.map { "\(Incarnation($0.id)) (\($0.state))" }.joined(separator: ", ")
        throw ValidationError("\"\(text)\" may be \(matches.count) nodes: \(ids); name one by its id.")
    }
}

extension Readable {
    /// 0 stands for none.
    static func limit(_ bytes: UInt64) -> String { bytes == 0 ? "?" : Readable.bytes(bytes) }
}

extension OperationInfo {
    /// Whether nothing more comes of it.
    fileprivate var hasEnded: Bool { ["done", "cancelled", "failed"].contains(step) }
}

extension NodeInfo {
    var state: String { isDrained ? (isAlive ? "drained" : "drained, dead") : isAlive ? "alive" : "dead" }
}

extension MoveInfo {
    var fromText: String { order.from.map { Incarnation($0).description } ?? "-" }
    var toText: String { (order.to.map { Incarnation($0).description } ?? "-") + (order.isLeadOnly ? " (lead)" : "") }

    var json: PayloadValue {
        .map([
            "collection": .string(order.collection), "shard": .count(order.shard), "from": order.from.map { .string(Incarnation($0).description) } ?? .null,
            "to": order.to.map { .string(Incarnation($0).description) } ?? .null, "lead_only": .bool(order.isLeadOnly), "bytes": .count(bytes),
            "cause": .string(cause), "reason": .string(reason),
        ])
    }
}

extension OperationInfo {
    var json: PayloadValue {
        .map([
            "id": .string(Incarnation(id).description), "kind": .string(kind), "move": move.json, "step": .string(step), "problem": .string(problem),
            "created_milliseconds": .integer(createdMilliseconds), "changed_milliseconds": .integer(changedMilliseconds),
        ])
    }
}

extension OperationList {
    var json: PayloadValue { .map(["paused": .bool(isPaused), "operations": .list(operations.map(\.json))]) }
}

extension ReshardingInfo {
    var json: PayloadValue {
        switch change {
        case .split(let order):
            .map(["kind": .string("split"), "collection": .string(order.collection), "shard": .count(order.shard), "reason": .string(reason)])
        case .merge(let order):
            .map([
                "kind": .string("merge"), "collection": .string(order.collection), "shard": .count(order.shard), "other": .count(order.other),
                "reason": .string(reason),
            ])
        }
    }
}
