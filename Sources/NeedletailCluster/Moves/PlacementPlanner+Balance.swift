internal import NeedletailCore

extension PlacementPlanner {
    /// The nodes among which bytes and work are balanced.
    private var members: [NodeID] { order.filter { nodes[$0]?.mayTake == true } }

    private func weight(_ node: NodeID) -> Double { nodes[node]?.weight ?? 1 }

    /// What a node of weight 1 ought to hold.
    private struct Shares {
        var bytes: Double
        var work: Double
        /// What differences of work are compared with.
        var workScale: Double { max(work, PlacementPlanner.leastWork) }
    }

    private func shares(_ members: [NodeID]) -> Shares {
        func mean(_ held: [NodeID: Double]) -> Double { members.reduce(0) { $0 + held[$1, default: 0] } / members.reduce(0) { $0 + weight($1) } }
        return Shares(bytes: mean(bytes), work: mean(work))
    }

    /// Moves replicas from nodes that hold more than their share to those that hold less. What brings the bytes nearer to their balance may not take the
    /// work as far from its own, nor the other way round, so the two do not undo each other.
    mutating func balance() {
        let members = members
        guard members.count > 1 else { return }
        let shares = shares(members)
        while true {
            if isUneven(members, mean: shares.bytes), let step = bestStep(members, shares) {
                take(step, reason: account(step, "bytes", bytes, of: shares.bytes))
            } else if isUnevenlyBusy(members, shares), let steps = bestRelief(members, shares) {
                for step in steps { take(step, reason: account(steps[0], "work", work, of: shares.work)) }
            } else {
                return
            }
        }
    }

    private mutating func take(_ step: Step, reason: String) { move(step.index, from: step.from, to: step.to, .balance, reason) }

    private func account(_ step: Step, _ what: String, _ held: [NodeID: Double], of mean: Double) -> String {
        func percent(_ node: NodeID) -> String { "\(Int((held[node, default: 0] / weight(node) / mean * 100).rounded())) %" }
        return "node \(step.from) holds \(percent(step.from)) of its share of the \(what), node \(step.to) \(percent(step.to))"
    }

    /// Whether the nodes differ by more than the hysteresis; finer than a smallest shard no balance can be.
    private func isUneven(_ members: [NodeID], mean: Double) -> Bool {
        let fills = members.map(fill)
        let spread = (fills.max() ?? 0) - (fills.min() ?? 0)
        let smallest = shards.map { Double($0.bytes) }.min() ?? 0
        return spread > mean * Self.hysteresis && spread > smallest
    }

    private func business(_ node: NodeID) -> Double { work[node, default: 0] / weight(node) }

    private func isUnevenlyBusy(_ members: [NodeID], _ shares: Shares) -> Bool {
        let business = members.map(business)
        return (business.max() ?? 0) - (business.min() ?? 0) > shares.workScale * Self.workHysteresis
    }

    private struct Step {
        var index: Int
        var from: NodeID
        var to: NodeID
    }

    /// From the fullest node on, to the emptiest node on.
    private func bestStep(_ members: [NodeID], _ shares: Shares) -> Step? {
        let sorted = members.sorted { (fill($0), $0) < (fill($1), $1) }
        for from in sorted.reversed() {
            for to in sorted where fill(to) < fill(from) && to != from {
                if let index = bestReplica(from: from, to: to, shares) { return Step(index: index, from: from, to: to) }
            }
        }
        return nil
    }

    /// The largest replica that fits both what one node has too much and the other too little; else the one that brings the two nearest
    /// to their shares. nil when none brings them nearer.
    private func bestReplica(from: NodeID, to: NodeID, _ shares: Shares) -> Int? {
        let surplus = bytes[from, default: 0] - shares.bytes * weight(from)
        let deficit = shares.bytes * weight(to) - bytes[to, default: 0]
        var fitting: (size: Double, index: Int)?
        var other: (gain: Double, index: Int)?
        for index in shards.indices where isMovable(index, from: from, to: to) {
            let size = Double(shards[index].bytes)
            let gain = gain(size, shards[index].workOfReplica, from: from, to: to, shares)
            guard gain > 0 else { continue }
            if size <= min(surplus, deficit) {
                if size > fitting?.size ?? 0 { fitting = (size, index) }
            } else if gain > other?.gain ?? 0 {
                other = (gain, index)
            }
        }
        return fitting?.index ?? other?.index
    }

    /// From the busiest node on: the replica that brings it and any other nearest to their shares, or, when none does, two that change places.
    private func bestRelief(_ members: [NodeID], _ shares: Shares) -> [Step]? {
        let sorted = members.sorted { (business($0), $0) < (business($1), $1) }
        let idle = sorted.filter { business($0) < shares.work }
        for from in sorted.reversed() where business(from) > shares.work {
            var best: (gain: Double, steps: [Step])?
            for to in idle {
                for index in shards.indices where isMovable(index, from: from, to: to) {
                    let gain = gain(Double(shards[index].bytes), shards[index].workOfReplica, from: from, to: to, shares)
                    if gain > best?.gain ?? 0 { best = (gain, [Step(index: index, from: from, to: to)]) }
                }
            }
            if let best { return best.steps }
            for to in idle {
                for (index, other) in exchanges(from, to) {
                    let (size, busy) = (Double(shards[index].bytes) - Double(shards[other].bytes), shards[index].workOfReplica - shards[other].workOfReplica)
                    let gain = gain(size, busy, from: from, to: to, shares)
                    if gain > best?.gain ?? 0 { best = (gain, [Step(index: index, from: from, to: to), Step(index: other, from: to, to: from)]) }
                }
            }
            if let best { return best.steps }
        }
        return nil
    }

    /// Busier replicas of one node with less busy ones of another.
    private func exchanges(_ from: NodeID, _ to: NodeID) -> [(Int, Int)] {
        let theirs = shards.indices.filter { isMovable($0, from: to, to: from) }
        return shards.indices.filter { isMovable($0, from: from, to: to) }.flatMap { index in
            theirs.filter { shards[$0].work < shards[index].work }.map { (index, $0) }
        }
    }

    /// How much nearer to their shares two nodes come when so much goes from one to the other, in squares relative to the mean; less than a
    /// thousandth does not count.
    private func gain(_ size: Double, _ busy: Double, from: NodeID, to: NodeID, _ shares: Shares) -> Double {
        func gain(_ amount: Double, _ held: [NodeID: Double], _ mean: Double, scale: Double) -> Double {
            let (surplus, deficit) = (held[from, default: 0] - mean * weight(from), mean * weight(to) - held[to, default: 0])
            func distance(_ surplus: Double, _ deficit: Double) -> Double { surplus * surplus / weight(from) + deficit * deficit / weight(to) }
            return (distance(surplus, deficit) - distance(surplus - amount, deficit - amount)) / (scale * scale)
        }
        let gain = gain(size, bytes, shares.bytes, scale: shares.bytes) + gain(busy, work, shares.work, scale: shares.workScale)
        return gain > 1 / 1000 ? gain : 0
    }

    private func isMovable(_ index: Int, from: NodeID, to: NodeID) -> Bool {
        let shard = shards[index]
        guard !shard.isBusy, !shard.isResting, holders[index].contains(from), !holders[index].contains(to), fits(index, on: to) else { return false }
        return zones(holders[index].filter { $0 != from } + [to]) >= zones(holders[index])
    }

    // MARK: The plan

    /// The difference between the draft and what is: urgent causes first, each shard's moves together.
    func moves() -> [PlannedMove] {
        var moves: [PlannedMove] = []
        for (index, shard) in shards.enumerated() where !shard.isBusy {
            var gone = shard.place.replicas.filter { !holders[index].contains($0) }
            // Those are replaced first that are worst missed: lost ones last, since nothing is gained by their leaving.
            for node in holders[index] where !shard.place.replicas.contains(node) {
                let why = causes[index][node]
                let partner = gone.firstIndex { causes[index][$0]?.0 == why?.0 } ?? (gone.isEmpty ? nil : 0)
                let from = partner.map { gone.remove(at: $0) }
                moves.append(planned(shard, from: from, to: node, why ?? (.replicas, "")))
            }
            for node in gone {
                // Balance may have put the replica that was one too many in the place of another: one too many that is.
                let count = shard.place.replicas.count
                let surplus = (PlannedMove.Cause.replicas, "the collection wants \(shard.replicationFactor) replicas, and there are \(count)")
                let why = causes[index][node].flatMap { $0.0 == .balance ? nil : $0 } ?? surplus
                moves.append(planned(shard, from: node, to: nil, why))
            }
        }
        return moves.enumerated().sorted { ($0.element.cause.rawValue, $0.offset) < ($1.element.cause.rawValue, $1.offset) }.map(\.element)
    }

    private func planned(_ shard: ClusterPicture.Shard, from: NodeID?, to: NodeID?, _ why: (PlannedMove.Cause, String)) -> PlannedMove {
        PlannedMove(
            shard: shard.id, collection: shard.collection, from: from, to: to, bytes: to == nil ? 0 : shard.bytes, cause: why.0, reason: why.1)
    }

    /// Primaries from nodes that lead many shards to in-sync replicas on nodes that lead few, by weight; only where no replica moves, and
    /// only when it makes the two at least as even as they were, the other way round not counted.
    func leads() -> [PlannedMove] {
        var led: [NodeID: Int] = [:]
        var primaries: [Int: NodeID] = [:]
        for (index, shard) in shards.enumerated() {
            led[shard.place.primary, default: 0] += 1
            if !shard.isBusy, !shard.isResting, Set(holders[index]) == Set(shard.place.replicas) { primaries[index] = shard.place.primary }
        }
        func share(_ node: NodeID, _ more: Int) -> Double { Double(led[node, default: 0] + more) / weight(node) }
        var changed: [Int: (from: NodeID, to: NodeID)] = [:]
        var hasChanged = true
        while hasChanged {
            hasChanged = false
            for index in primaries.keys.sorted() {
                guard let from = primaries[index] else { continue }
                let others = shards[index].place.inSync.filter { $0 != from && nodes[$0]?.mayTake == true }
                guard let to = others.min(by: { (share($0, 1), $0) < (share($1, 1), $1) }), share(to, 1) <= share(from, -1) else { continue }
                led[from, default: 0] -= 1
                led[to, default: 0] += 1
                primaries[index] = to
                changed[index] = (changed[index]?.from ?? from, to)
                hasChanged = true
            }
        }
        return changed.sorted { $0.key < $1.key }.filter { $0.value.from != $0.value.to }.map { index, change in
            PlannedMove(
                shard: shards[index].id, collection: shards[index].collection, from: change.from, to: change.to, isLeadOnly: true, bytes: 0, cause: .leads,
                reason: "node \(change.from) leads more shards than node \(change.to)")
        }
    }
}
