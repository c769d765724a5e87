internal import NeedletailCore

/// The leases of the embedded store. Pure: time comes in as a parameter.
struct LeaseTable {
    private struct Lease {
        var length: Duration
        var end: ContinuousClock.Instant
        var keys: Set<String> = []
    }

    private var leases: [Int64: Lease] = [:]
    private var owner: [String: Int64] = [:]
    private var last: Int64 = 0

    /// When the first of them is over, if none is kept alive.
    var nextEnd: ContinuousClock.Instant? { leases.values.map(\.end).min() }

    func over(at now: ContinuousClock.Instant) -> [Int64] { leases.filter { $0.value.end <= now }.map(\.key).sorted() }

    mutating func grant(_ length: Duration, now: ContinuousClock.Instant) -> MetadataLease {
        last += 1
        leases[last] = Lease(length: length, end: now + length)
        return MetadataLease(id: last, length: length)
    }

    func check(_ lease: MetadataLease) throws(NeedletailError) {
        guard leases[lease.id] != nil else { throw NeedletailError.leaseIsOver }
    }

    mutating func renew(_ lease: MetadataLease, now: ContinuousClock.Instant) throws(NeedletailError) {
        guard let length = leases[lease.id]?.length else { throw NeedletailError.leaseIsOver }
        leases[lease.id]?.end = now + length
    }

    /// - Returns: the keys that go with it.
    mutating func end(_ id: Int64) -> Set<String> {
        let keys = leases.removeValue(forKey: id)?.keys ?? []
        for key in keys { owner[key] = nil }
        return keys
    }

    /// Follows changes that were made: each frees its key, and some bind it anew.
    mutating func bind(_ operations: [MetadataOperation]) {
        for operation in operations {
            if let former = owner.removeValue(forKey: operation.key) { leases[former]?.keys.remove(operation.key) }
            guard case .put(let key, _, let lease?) = operation, leases[lease.id] != nil else { continue }
            leases[lease.id]?.keys.insert(key)
            owner[key] = lease.id
        }
    }
}
