@testable import NeedletailCluster
import NeedletailCore
import NeedletailTestSupport
import Testing

@Suite struct MoverTests {
    /// A shard's world in miniature: does what a mover orders, as a leader would.
    struct World {
        var move: Move
        var place: ShardPlace?
        var files: Set<NodeID>
        var placeChanges = 0

        init(_ replicas: [UInt64], from: UInt64?, to: UInt64?, isLeadOnly: Bool = false) {
            let planned = PlannedMove(
                shard: ShardID(incarnation: Incarnation(1), number: 0), collection: "c", from: from.map { NodeID($0) }, to: to.map { NodeID($0) }, isLeadOnly: isLeadOnly,
                bytes: 5, cause: .byHand, reason: "asked for")
            move = Move(planned, id: 9, nowMilliseconds: 1)
            place = ShardPlace(
                number: 0, range: HashRange.dividing(into: 1)[0], primary: NodeID(replicas[0]), epoch: 1, replicas: replicas.map { NodeID($0) })
            files = Set(replicas.map { NodeID($0) })
        }

        /// One thing happens; false when nothing can.
        mutating func advance(lost: Set<NodeID> = []) -> Bool {
            switch Mover.next(move, Mover.Circumstances(place: place, lost: lost)) {
            case .change(let next, let newPlace):
                #expect(next != move || newPlace != nil)
                move = try! Move(encoded: next.encoded)
                if let newPlace {
                    #expect(newPlace.version == (place?.version ?? 0) + 1 && newPlace.isSound)
                    files.formUnion(newPlace.replicas)
                    place = newPlace
                    placeChanges += 1
                }
            case .handOver(let heir):
                #expect(place?.inSync.contains(heir) == true)
                place?.primary = heir
                place?.epoch += 1
                place?.version += 1
            case .drop(let node):
                #expect(place?.replicas.contains(node) == false)
                files.remove(node)
                if case .change(let next, nil) = Mover.dropped(move) { move = next }
            case .wait:
                // The new replica gets there.
                guard var next = place, next.inSync != next.replicas else { return false }
                next.inSync = next.replicas
                next.version += 1
                place = next
            case .nothing: return false
            }
            return true
        }

        mutating func finish() { for _ in 0..<30 where advance() {} }
    }

    @Test func aMoveEndsWithTheNewReplicaInPlaceOfTheOld() {
        for replicas: [UInt64] in [[1], [1, 2], [2, 1], [3, 1, 2]] {
            var world = World(replicas, from: 1, to: 9)
            world.finish()
            let expected = Set(replicas.map { NodeID($0 == 1 ? 9 : $0) })
            #expect(world.move.step == .done && world.files == expected)
            #expect(world.place?.isSound == true && Set(world.place?.replicas ?? []) == expected && world.placeChanges == 2)
        }
    }

    @Test func replicasAreAddedRemovedAndMadePrimary() {
        var added = World([1], from: nil, to: 2)
        added.finish()
        #expect(added.move.step == .done && added.files == [NodeID(1), NodeID(2)])
        var removed = World([1, 2], from: 1, to: nil)
        removed.finish()
        #expect(removed.move.step == .done && removed.files == [NodeID(2)] && removed.place?.primary == NodeID(2))
        var led = World([1, 2], from: 1, to: 2, isLeadOnly: true)
        led.finish()
        #expect(led.move.step == .done && led.files.count == 2 && led.place?.primary == NodeID(2))
    }

    /// Cancelled at any moment before the old replica has left, a move leaves everything as it was, but for epochs.
    @Test func cancellingAtAnyMomentUndoes() {
        for replicas: [UInt64] in [[1], [1, 2]] {
            for moment in 0..<12 {
                var world = World(replicas, from: 1, to: 9)
                for _ in 0..<moment where world.advance() {}
                let isLate = world.move.step == .dropping || world.move.step == .done
                if !world.move.step.hasEnded { world.move.isCancelled = true }
                world.finish()
                #expect(world.move.step == (isLate ? .done : .cancelled), "after \(moment) steps")
                #expect(world.files == Set(replicas.map { NodeID($0 == 1 && isLate ? 9 : $0) }) && world.place?.isSound == true)
            }
        }
    }

    @Test func aNodeThatIsGoneEndsTheMove() {
        var world = World([1], from: 1, to: 9)
        _ = world.advance()
        for _ in 0..<20 where world.advance(lost: [NodeID(9)]) {}
        #expect(world.move.step == .cancelled && world.move.problem.contains("gone") && world.place?.replicas == [NodeID(1)])
        var deleted = World([1], from: 1, to: 9)
        _ = deleted.advance()
        deleted.place = nil
        _ = deleted.advance()
        #expect(deleted.move.step == .failed)
    }

    @Test func fewMovesAreUnderWayAtOnceAndOneANode() {
        func move(_ id: UInt64, _ shard: UInt32, _ from: UInt64, _ to: UInt64, _ step: Move.Step = .adding, _ cause: PlannedMove.Cause = .balance) -> Move {
            let planned = PlannedMove(
                shard: ShardID(incarnation: Incarnation(1), number: shard), collection: "c", from: NodeID(from), to: NodeID(to), bytes: 0, cause: cause, reason: "")
            var move = Move(planned, id: id, nowMilliseconds: Int64(id))
            move.step = step
            return move
        }
        let moves = [move(1, 1, 1, 2), move(2, 2, 1, 3), move(3, 3, 4, 5), move(4, 4, 6, 7), move(5, 5, 6, 8, .adding, .drain)]
        #expect(MoveLimits().startable(moves, isHeld: false).map(\.id) == [5, 1])
        #expect(MoveLimits(atOnce: 9, perNode: 1).startable(moves, isHeld: false).map(\.id) == [5, 1, 3])
        #expect(MoveLimits().startable(moves, isHeld: true).isEmpty)
        let busy = [move(1, 1, 1, 2, .catchingUp), move(2, 2, 1, 3), move(3, 1, 4, 5), move(4, 4, 6, 7)]
        #expect(MoveLimits().startable(busy, isHeld: false).map(\.id) == [4])
        #expect(MoveLimits(atOnce: 1).startable(busy, isHeld: false).isEmpty)
        #expect(MoveLimits(atOnce: 1).startable([move(1, 1, 1, 2, .dropping), move(2, 2, 1, 3)], isHeld: false).map(\.id) == [2])
    }

    @Test func movesAndEventsAreReadAsTheyWereWritten() throws {
        var move = World([1], from: nil, to: 3).move
        for step in Move.Step.allCases {
            for cause in PlannedMove.Cause.allCases {
                (move.step, move.cause, move.problem, move.isCancelled) = (step, cause, "because", !move.isCancelled)
                #expect(try Move(encoded: move.encoded) == move)
            }
        }
        for length in 0..<move.encoded.count { #expect(throws: NeedletailError.self) { try Move(encoded: Array(move.encoded.prefix(length))) } }
        let event = ClusterEvent(number: 300, milliseconds: -4, kind: "move", message: "x")
        #expect(try ClusterEvent(encoded: event.encoded) == event && event.key == Incarnation(44).description)
    }
}
