internal import NeedletailCore
internal import NeedletailIndex
internal import NeedletailStorage
internal import Synchronization

/// For the filters that searches came with lately: which slots have points that they admit. A filter's set is made when it is first asked for, by a
/// look at every payload, and kept up to date by every publication from then on, so that the next search costs no look at all.
///
/// Sets are changed while `Publication` lets nobody else publish. Searches read them without a lock: for them a bit is a hint, and whoever hands a
/// point out looks at its payload once more.
final class AdmittedSlots: Sendable {
    /// Of one filter.
    final class Members: Sendable {
        let filter: PayloadFilter
        let bits: SlotBits
        private let members = Atomic<Int>(0)
        /// Held while the set is being made, by whom others wait for.
        let isComplete = Mutex(false)

        init(filter: PayloadFilter, capacity: Int) {
            self.filter = filter
            bits = SlotBits(capacity: capacity)
        }

        var count: Int { members.load(ordering: .acquiring) }

        fileprivate func set(_ slot: UInt32, _ isMember: Bool) {
            guard bits[Int(slot)] != isMember else { return }
            if isMember { bits.set(Int(slot)) } else { bits.clear(Int(slot)) }
            members.wrappingAdd(isMember ? 1 : -1, ordering: .releasing)
        }
    }

    /// Sets kept: each is asked about every payload that is written, some 50 ns, and takes a bit a slot.
    private static let kept = 256

    private struct State {
        /// Those used last come last.
        var sets: [Members] = []
    }

    private let capacity: Int
    private let state = Mutex(State())
    /// So that writes to a replica without any set cost nothing.
    private let isEmpty = Atomic<Bool>(true)

    init(capacity: Int) { self.capacity = capacity }

    /// The set of a filter; when it is not complete yet, the caller completes it.
    func members(of filter: PayloadFilter) -> Members {
        state.withLock { state in
            if let index = state.sets.firstIndex(where: { $0.filter == filter }) {
                let found = state.sets.remove(at: index)
                state.sets.append(found)
                return found
            }
            if state.sets.count >= Self.kept { state.sets.removeFirst() }
            let made = Members(filter: filter, capacity: capacity)
            state.sets.append(made)
            isEmpty.store(false, ordering: .releasing)
            return made
        }
    }

    /// Whether a set is kept up to date; one that gave way to others is not.
    func keeps(_ members: Members) -> Bool { state.withLock { $0.sets.contains { $0 === members } } }

    /// A point with this payload is current in the slot.
    func note(_ payload: [UInt8], slot: UInt32) {
        if isEmpty.load(ordering: .acquiring) { return }
        let sets = state.withLock { $0.sets }
        // A payload that cannot be read is nobody's.
        guard !sets.isEmpty, let decoded = try? PayloadCoding.decode(payload) else { return forget(slot: slot) }
        for members in sets { members.set(slot, members.filter.matches(decoded)) }
    }

    func note(_ slot: UInt32, in members: Members) { members.set(slot, true) }

    func forget(slot: UInt32) {
        if isEmpty.load(ordering: .acquiring) { return }
        for members in state.withLock({ $0.sets }) { members.set(slot, false) }
    }
}

extension Replica {
    /// The points that a filter admits. May take as long as reading all payloads, the first time.
    /// - Throws: `deadlineExceeded` when there is no time to find out; what was found out is kept.
    func members(of filter: PayloadFilter, deadline: Deadline?) throws -> AdmittedSlots.Members {
        let members: AdmittedSlots.Members = admitted.members(of: filter)
        try members.isComplete.withLock { isComplete in
            if isComplete { return }
            // Known to the applier before the first payload is read: what changes from now on it notes itself.
            var seen = 0
            try payloads.scan(after: nil, limit: .max) { key, payload in
                seen += 1
                if seen.isMultiple(of: 1_024) { try Self.check(deadline) }
                guard try filter.matches(encoded: payload), let id = PointID(orderedKey: key) else { return }
                try publication.exclusively {
                    // As it is now: it may have been written anew since the scan came by.
                    guard let slot = points.slot(of: id), try filter.matches(encoded: payloads.get(key) ?? []) else { return }
                    admitted.note(slot, in: members)
                }
            }
            isComplete = true
        }
        return members
    }

    static func check(_ deadline: Deadline?) throws(NeedletailError) {
        guard let deadline, deadline.isPast else { return }
        throw NeedletailError(.deadlineExceeded, "the deadline passed while payloads were looked through; allow more time")
    }

    /// How many points a filter admits.
    func count(within filter: PayloadFilter, deadline: Deadline?) throws -> ShardCount {
        let members: AdmittedSlots.Members = try self.members(of: filter, deadline: deadline)
        let applied = appliedSequence.load(ordering: .acquiring)
        let known = members.count
        if admitted.keeps(members) { return ShardCount(count: UInt64(known), appliedSequence: applied, isFiltered: true) }
        // More filters at once than sets are kept: then what was written meanwhile is in none.
        var (count, seen) = (UInt64(0), 0)
        try payloads.scan(after: nil, limit: .max) { _, payload in
            seen += 1
            if seen.isMultiple(of: 1_024) { try Self.check(deadline) }
            if try filter.matches(encoded: payload) { count += 1 }
        }
        return ShardCount(count: count, appliedSequence: applied, isFiltered: true)
    }

    /// As `scroll`, of the points that a filter admits.
    func scroll(_ request: ShardScroll, within filter: PayloadFilter) throws -> ScrollPage {
        var points: [StoredPoint] = []
        var after = request.after?.orderedKey
        while points.count <= request.limit {
            try Self.check(request.deadline)
            var (seen, wanted) = (0, [PointID]())
            try payloads.scan(after: after, limit: Self.scrollStep) { key, payload in
                (seen, after) = (seen + 1, key)
                if try filter.matches(encoded: payload), let id = PointID(orderedKey: key) { wanted.append(id) }
            }
            for id in wanted where points.count <= request.limit {
                if let point = try read(id, parts: request.parts, within: filter) { points.append(point) }
            }
            if seen < Self.scrollStep { break }
        }
        return ScrollPage(points: Array(points.prefix(request.limit)), hasMore: points.count > request.limit)
    }

    private static let scrollStep = 512
}
