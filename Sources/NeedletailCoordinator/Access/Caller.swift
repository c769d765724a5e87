internal import NeedletailCore
internal import NeedletailSecurity
internal import Synchronization

/// Who makes the request at hand, and what it may.
final class Caller: Sendable {
    @TaskLocal static var current: Caller?

    let principal: Principal
    let rule: AccessRule
    let limits: RequestLimits
    /// What it proved itself with.
    let authorization: String?
    private let state: Mutex<State>

    private struct State {
        var collection: String?
        var wasChecked: Bool
        var messages = 0
    }

    init(_ principal: Principal, _ rule: AccessRule, limits: RequestLimits, authorization: String?) {
        self.principal = principal
        self.authorization = authorization
        self.rule = rule
        self.limits = limits
        state = Mutex(State(wasChecked: rule.scope != .collection))
    }

    var filter: PayloadFilter? { principal.info.filter }

    /// What the request was about, for the audit log.
    var collection: String? { state.withLock { $0.collection } }

    /// Whether somebody has asked what a method's rule asks for: an answer without that must not leave.
    var wasChecked: Bool { state.withLock { $0.wasChecked } }

    func note(_ collection: String) { state.withLock { $0.collection = collection } }

    /// Asks for the role that the method's rule names.
    /// - Throws: `permissionDenied`.
    func check(onCollection collection: String) throws(NeedletailError) {
        note(collection)
        try principal.info.check(rule.role, onCollection: collection)
        state.withLock { $0.wasChecked = true }
    }

    /// Whether this is the call's first write, or the first page that it reads; a stream has more.
    func beginsMessage() -> Bool {
        state.withLock { state in
            state.messages += 1
            return state.messages == 1
        }
    }

    /// - Throws: `internal` when a request got here without anybody having asked who makes it.
    static func known() throws(NeedletailError) -> Caller {
        guard let caller = current else { throw NeedletailError(.internal, "a request came by without its caller; report this as a bug") }
        return caller
    }

    // MARK: Limits

    func check(bytes: Int) throws(NeedletailError) {
        if let most = limits.requestBytes, bytes > most { throw tooMuch("a message of \(bytes) bytes", most) }
    }

    func check(batch: Int) throws(NeedletailError) {
        if let most = limits.batch, batch > most { throw tooMuch("\(batch) at once", most) }
    }

    func check(limit: Int) throws(NeedletailError) {
        if let most = limits.limit, limit > most { throw tooMuch("a limit of \(limit)", most) }
    }

    /// The query within the caller's breadth.
    func bounded(_ query: NamedQuery) throws(NeedletailError) -> NamedQuery {
        try check(limit: query.limit)
        guard let most = limits.ef else { return query }
        guard !query.exact, query.recallTarget == nil else {
            throw NeedletailError(
                .invalidArgument, "\"\(principal.info.name)\" has a limit for ef (\(most)), which exact searches and recall targets would go round; set ef")
        }
        if let ef = query.ef, ef > most { throw tooMuch("an ef of \(ef)", most) }
        var bounded = query
        bounded.ef = min(query.ef ?? SearchQuery.defaultEf(limit: query.limit), most)
        return bounded
    }

    private func tooMuch(_ what: String, _ most: Int) -> NeedletailError {
        NeedletailError(.invalidArgument, "\(what) is more than \"\(principal.info.name)\" may ask for, which is \(most); ask for less")
    }
}
