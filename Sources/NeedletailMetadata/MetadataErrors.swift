public import NeedletailCore

extension NeedletailError {
    /// What every store says of a lease that has ended.
    public static let leaseIsOver = NeedletailError(.notFound, "the lease is over and the keys bound to it are gone; take a new lease")
}

extension MetadataTransaction {
    /// - Throws: `invalidArgument` when a key is changed twice: which of the two would count?
    public func validate() throws(NeedletailError) {
        var keys: Set<String> = []
        for operation in operations where !keys.insert(operation.key).inserted {
            throw NeedletailError(.invalidArgument, "a transaction changes key \"\(operation.key)\" twice; leave one change out")
        }
    }
}
