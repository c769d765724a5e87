/// The last transactions' changes, for watches.
struct ChangeHistory {
    private let length: Int
    /// In order of their revisions.
    private var transactions: [(revision: UInt64, changes: [MetadataChange])] = []
    /// Up to it nothing is known any more.
    private var forgotten: UInt64
    /// Of the last transaction.
    private(set) var revision: UInt64

    init(length: Int, revision: UInt64) {
        precondition(length > 0, "a history has a length")
        self.length = length
        self.revision = revision
        forgotten = revision
    }

    mutating func append(_ changes: [MetadataChange], revision: UInt64) {
        transactions.append((revision, changes))
        self.revision = revision
        // Cut now and then, so that a change does not cost the length.
        guard transactions.count >= 2 * length else { return }
        forgotten = transactions[transactions.count - length - 1].revision
        transactions.removeFirst(transactions.count - length)
    }

    /// nil when some of them are forgotten.
    func changes(after seen: UInt64) -> [MetadataChange]? {
        guard seen >= forgotten else { return nil }
        var first = transactions.endIndex
        while first > 0, transactions[first - 1].revision > seen { first -= 1 }
        return transactions[first...].flatMap(\.changes)
    }
}
