internal import NeedletailCore
internal import NeedletailVectors
internal import Synchronization

extension HNSWIndex {
    /// Cuts every link from the nodes in `slots` to a retired node, and mends what the cut tore: a node that loses a neighbour may
    /// take that neighbour's neighbours in its place, chosen as at insertion.
    ///
    /// `doomed` are the slots to be released afterwards: retired before the repair began, with no `link` under way at that time. Run
    /// over all slots below `slotBound`, it leaves no link to them from anywhere but themselves, and once running searches have ended
    /// they may be released. Nodes retired *while* it runs still lead walks on, so links to the doomed are cut from them too; they
    /// themselves are the next repair's. Safe beside searches and insertions.
    /// - Returns: how many lists were mended.
    @discardableResult public func repair(slots: Range<Int>, doomed: SlotBits, scratch: inout SearchScratch) -> Int {
        guard let pointers else { return 0 }
        scratch.prepare(slots: slotBound.load(ordering: .acquiring), queryBytes: pointers.queryBytes)
        var mended = 0
        for slot in slots where !doomed[slot] {
            let node = UInt32(slot)
            // −1: no node here (a free slot, or a point without a vector in this field).
            for level in stride(from: 0, through: pointers.level(node), by: 1) {
                let isMended =
                    linkable[slot]
                    ? mend(node, level: level, pointers: pointers, scratch: &scratch)
                    : cut(doomed, from: node, level: level, pointers: pointers)
                if isMended { mended += 1 }
            }
        }
        return mended
    }

    /// Takes the doomed out of the list of a node that is itself retired and needs no new neighbours.
    private func cut(_ doomed: SlotBits, from node: UInt32, level: Int, pointers: GraphPointers) -> Bool {
        locks.withLock(node) {
            let list = pointers.list(node, level: level)
            let degree = pointers.degree(level: level)
            let old = read(list, degree: degree)
            let kept = old.filter { !doomed[Int($0)] }
            if kept.count == old.count { return false }
            willWriteList(of: node, level: level, pointers: pointers)
            write(kept, to: list, degree: degree)
            return true
        }
    }

    private func mend(_ node: UInt32, level: Int, pointers: GraphPointers, scratch: inout SearchScratch) -> Bool {
        let added: [UInt32]? = locks.withLock(node) {
            let list = pointers.list(node, level: level)
            let degree = pointers.degree(level: level)
            let old = read(list, degree: degree)
            guard old.contains(where: { !linkable[Int($0)] }) else { return nil }
            let count = gather(replacementsFor: old, of: node, level: level, pointers: pointers, scratch: &scratch)
            let candidates = sorted(count: count, around: node, keeping: nil, pointers: pointers, scratch: &scratch)
            let chosen = select(candidates, around: node, limit: degree, pointers: pointers, scratch: &scratch)
            willWriteList(of: node, level: level, pointers: pointers)
            write(chosen, to: list, degree: degree)
            return chosen.filter { !old.contains($0) }
        }
        guard let added else { return false }
        // Both ways, as at insertion: the node may have been reachable only through the neighbours it lost.
        for neighbour in added { addLink(from: neighbour, to: node, level: level, pointers: pointers, scratch: &scratch) }
        return true
    }

    /// Puts into `scratch.rows` the neighbours that stay and those of the retired ones, each once.
    private func gather(
        replacementsFor old: [UInt32], of node: UInt32, level: Int, pointers: GraphPointers, scratch: inout SearchScratch
    ) -> Int {
        var count = 0
        defer { scratch.visited.clear() }
        _ = scratch.visited.insert(node)
        func add(_ slot: UInt32) {
            guard count < SearchScratch.rowCapacity, linkable[Int(slot)], Int(slot) < scratch.visited.slotCapacity,
                scratch.visited.insert(slot)
            else { return }
            scratch.rows[count] = slot
            count += 1
        }
        for neighbour in old { add(neighbour) }
        for neighbour in old where !linkable[Int(neighbour)] && pointers.level(neighbour) >= level {
            for next in read(pointers.list(neighbour, level: level), degree: pointers.degree(level: level)) { add(next) }
        }
        return count
    }

    func read(_ list: UnsafeMutablePointer<Atomic<UInt32>>, degree: Int) -> [UInt32] {
        var neighbours: [UInt32] = []
        neighbours.reserveCapacity(degree)
        for index in 0..<degree {
            let link = list[index].load(ordering: .acquiring)
            if link == 0 { break }
            neighbours.append(link &- 1)
        }
        return neighbours
    }

    /// Moves the entry point off a retired node, to the highest node that is left; the graph may become empty.
    public func replaceRetiredEntry() {
        guard let pointers else { return }
        let current = entry.load(ordering: .acquiring)
        guard current != 0, !linkable[Int(UInt32(truncatingIfNeeded: current) - 1)] else { return }
        var best: UInt64 = 0
        for slot in 0..<slotBound.load(ordering: .acquiring) where linkable[slot] {
            let level = pointers.level(UInt32(slot))
            if level >= 0, best == 0 || level > Int(best >> 32) { best = Self.entry(slot: UInt32(slot), level: level) }
        }
        // An insertion that has raised the entry point meanwhile is as good.
        _ = entry.compareExchange(expected: current, desired: best, ordering: .acquiringAndReleasing)
    }

    /// Makes a retired, repaired slot ready to be stored again. No search may still hold it.
    public func release(slot: UInt32) {
        guard let pointers else { return }
        let level = pointers.level(slot)
        if level > 0 { freeUpper(pointers.firstUpper(slot) - 1, count: level) }
        memory.nodes.willWrite(slot: Int(slot))
        pointers.setNode(slot, level: -1, firstUpper: 0)
    }
}
