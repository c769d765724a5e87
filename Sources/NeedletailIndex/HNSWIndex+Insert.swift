public import NeedletailCore
internal import NeedletailVectors
internal import Synchronization

extension HNSWIndex {
    /// Joins a stored slot to the graph: Algorithm 1, safe to run on several threads for different slots.
    ///
    /// The node's own lists are complete on every level before anyone links to it, and links to it are made from the base level up,
    /// so that a walk that meets the node can always go on and down from it.
    /// - Throws: `resourceExhausted` when the upper levels are full.
    public func link(slot: UInt32, id: PointID, scratch: inout SearchScratch) throws(NeedletailError) {
        guard let pointers else { preconditionFailure("ensureCapacity comes before link") }
        let level = drawLevel(id: id)
        let firstUpper = level > 0 ? try allocateUpper(level) + 1 : 0
        memory.nodes.willWrite(slot: Int(slot))
        pointers.setNode(slot, level: level, firstUpper: firstUpper)
        if firstUpper != 0 { for upper in 0..<level { memory.upper.willWrite(slot: Int(firstUpper) - 1 + upper) } }
        for cleared in 0...level { write([], to: pointers.list(slot, level: cleared), degree: pointers.degree(level: cleared)) }

        var top = entry.load(ordering: .acquiring)
        if top == 0 {
            linkable.set(Int(slot))
            let first = Self.entry(slot: slot, level: level)
            if entry.compareExchange(expected: 0, desired: first, ordering: .acquiringAndReleasing).exchanged { return }
            top = entry.load(ordering: .acquiring)
        }
        var chosen = chooseNeighbours(slot: slot, level: level, top: top, pointers: pointers, scratch: &scratch)
        while chosen.allSatisfy(\.isEmpty) {
            // Nothing but retired nodes can be reached from the entry point: the graph begins anew with this node, unless another
            // insertion began it first.
            linkable.set(Int(slot))
            let first = Self.entry(slot: slot, level: level)
            let (exchanged, original) = entry.compareExchange(expected: top, desired: first, ordering: .acquiringAndReleasing)
            if exchanged { return }
            top = original
            chosen = chooseNeighbours(slot: slot, level: level, top: top, pointers: pointers, scratch: &scratch)
        }
        memory.links.willWrite(slot: Int(slot))
        for (level, neighbours) in chosen.enumerated() {
            write(neighbours, to: pointers.list(slot, level: level), degree: pointers.degree(level: level))
        }
        linkable.set(Int(slot))
        for (level, neighbours) in chosen.enumerated() {
            for neighbour in neighbours { addLink(from: neighbour, to: slot, level: level, pointers: pointers, scratch: &scratch) }
        }
        raiseEntry(to: slot, level: level)
        noteLink(scratch: &scratch)
    }

    /// Up to how many quarters of a list are filled with refused candidates.
    private static let filledQuarters = 2

    /// The α of Vamana (Subramanya et al., "DiskANN", 2019), on distances as the metric has them: a candidate is refused only when a
    /// chosen node is nearer to it by this factor, so that links out of a dense cluster stay. Inner products have no scale to apply it to.
    private var relaxation: Float { field.metric == .dot ? 1 : 1.1 }

    static func entry(slot: UInt32, level: Int) -> UInt64 { UInt64(level) << 32 | UInt64(slot + 1) }

    private func raiseEntry(to slot: UInt32, level: Int) {
        var current = entry.load(ordering: .acquiring)
        while level > Int(current >> 32) {
            let (exchanged, original) = entry.compareExchange(
                expected: current, desired: Self.entry(slot: slot, level: level), ordering: .acquiringAndReleasing)
            if exchanged { return }
            current = original
        }
    }

    /// The neighbours of a new node, one list a level from 0 up to the lower of its level and the graph's.
    private func chooseNeighbours(
        slot: UInt32, level: Int, top: UInt64, pointers: GraphPointers, scratch: inout SearchScratch
    ) -> [[UInt32]] {
        scratch.prepare(slots: slotBound.load(ordering: .acquiring), queryBytes: pointers.queryBytes)
        var work = SearchWork()
        let topLevel = Int(top >> 32)
        let query = pointers.scorer.asQuery(pointers.walkedRow(slot), scratch: scratch.query.pointer)
        var position = nearest(to: query, entry: top, pointers: pointers, scratch: &scratch, work: &work)
        // The way here is a chain of ever nearer nodes, so it offers a long link or two, which the nearest alone never do: without them
        // a cluster that is loaded in one go is an island.
        var path = [position]
        for level in stride(from: topLevel, to: level, by: -1) {
            position = descend(
                query, from: position, levels: CollectionOfOne(level), pointers: pointers, scratch: &scratch, work: &work)
            path.append(position)
        }
        var chosen: [[UInt32]] = []
        for level in (0...min(level, topLevel)).reversed() {
            _ = walk(
                query, from: position, level: level, breadth: field.graph.efConstruction, admitted: linkable, deadline: nil,
                pointers: pointers, scratch: &scratch, work: &work)
            // A slot relinked by a replay may find itself.
            var candidates = scratch.candidates.answers().filter { $0.slot != slot }
            if let closest = candidates.first { position = closest }
            let far = path.filter { step in
                step.slot != slot && linkable[Int(step.slot)] && !candidates.contains { $0.slot == step.slot }
            }
            candidates += far
            candidates.sort { $0.distance < $1.distance }
            let limit = pointers.degree(level: level)
            chosen.append(select(candidates, around: slot, limit: limit, pointers: pointers, scratch: &scratch))
        }
        return chosen.reversed()
    }

    /// Algorithm 4: of candidates sorted by distance from the node, those that are nearer to it than to any already chosen one, so
    /// that links spread in all directions instead of into one cluster.
    ///
    /// Copies of one vector would crowd out all else, since none is nearer to another than to the node: see `thinned`.
    func select(
        _ candidates: [SlotDistance], around node: UInt32, limit: Int, pointers: GraphPointers, scratch: inout SearchScratch
    ) -> [UInt32] {
        if candidates.count <= limit { return candidates.map(\.slot) }
        let candidates = thinned(candidates, around: node, limit: limit, pointers: pointers)
        if candidates.count <= limit { return candidates.map(\.slot) }
        var chosen: [UInt32] = []
        var refused: [UInt32] = []
        chosen.reserveCapacity(limit)
        for candidate in candidates {
            if isSpread(candidate, from: chosen, pointers: pointers, scratch: &scratch) {
                chosen.append(candidate.slot)
            } else {
                refused.append(candidate.slot)
            }
            if chosen.count == limit { break }
        }
        // A point in the middle of all others (the zero vector among random ones) is nearer to each of them than they are to one another:
        // it alone would be chosen by all, and the graph would be a star. So the nearest refused ones fill up a part of the list.
        chosen += refused.prefix(max(0, limit * Self.filledQuarters / 4 - chosen.count))
        return chosen
    }

    /// Whether no chosen node is nearer to the candidate than the candidate is to the node that chooses.
    private func isSpread(_ candidate: SlotDistance, from chosen: [UInt32], pointers: GraphPointers, scratch: inout SearchScratch) -> Bool {
        if chosen.isEmpty { return true }
        let query = pointers.scorer.asQuery(pointers.walkedRow(candidate.slot), scratch: scratch.second.pointer)
        return chosen.withUnsafeBufferPointer { chosen in
            // In blocks: most refusals come from the first chosen nodes, which are the nearest.
            for start in stride(from: 0, to: chosen.count, by: 8) {
                let count = min(8, chosen.count - start)
                pointers.scorer.distances(
                    query, base: pointers.walked, rows: chosen.baseAddress.unsafelyUnwrapped + start, count: count,
                    out: scratch.distances)
                for index in 0..<count where scratch.distances[index] * relaxation < candidate.distance { return false }
            }
            return true
        }
    }

    /// Adds a link to a node's list; a full list is chosen anew among its entries and the new one.
    func addLink(from node: UInt32, to slot: UInt32, level: Int, pointers: GraphPointers, scratch: inout SearchScratch) {
        locks.withLock(node) {
            guard pointers.level(node) >= level else { return }
            let list = pointers.list(node, level: level)
            let degree = pointers.degree(level: level)
            var count = 0
            while count < degree {
                let link = list[count].load(ordering: .relaxed)
                if link == 0 { break }
                if link == slot &+ 1 { return }
                scratch.rows[count] = link &- 1
                count += 1
            }
            willWriteList(of: node, level: level, pointers: pointers)
            if count < degree {
                list[count].store(slot &+ 1, ordering: .releasing)
                return
            }
            scratch.rows[count] = slot
            let candidates = sorted(count: count + 1, around: node, keeping: slot, pointers: pointers, scratch: &scratch)
            write(select(candidates, around: node, limit: degree, pointers: pointers, scratch: &scratch), to: list, degree: degree)
        }
    }

    /// `scratch.rows[0 ..< count]` with their distances from `node`, nearest first, without retired nodes.
    func sorted(
        count: Int, around node: UInt32, keeping kept: UInt32?, pointers: GraphPointers, scratch: inout SearchScratch
    ) -> [SlotDistance] {
        let query = pointers.scorer.asQuery(pointers.walkedRow(node), scratch: scratch.second.pointer)
        pointers.scorer.distances(query, base: pointers.walked, rows: scratch.rows, count: count, out: scratch.distances)
        var candidates: [SlotDistance] = []
        candidates.reserveCapacity(count)
        for index in 0..<count where linkable[Int(scratch.rows[index])] || scratch.rows[index] == kept {
            candidates.append(SlotDistance(slot: scratch.rows[index], distance: scratch.distances[index]))
        }
        candidates.sort { $0.distance != $1.distance ? $0.distance < $1.distance : $0.slot < $1.slot }
        return candidates
    }

    func willWriteList(of node: UInt32, level: Int, pointers: GraphPointers) {
        if level == 0 {
            memory.links.willWrite(slot: Int(node))
        } else {
            memory.upper.willWrite(slot: Int(pointers.firstUpper(node)) - 1 + level - 1)
        }
    }

    /// Replaces a list in place: entries first, then the zeros that end it. A reader sees old or new entries, each of them a node.
    func write(_ neighbours: [UInt32], to list: UnsafeMutablePointer<Atomic<UInt32>>, degree: Int) {
        for (index, neighbour) in neighbours.enumerated() { list[index].store(neighbour &+ 1, ordering: .releasing) }
        for index in neighbours.count..<degree { list[index].store(0, ordering: .releasing) }
    }
}
