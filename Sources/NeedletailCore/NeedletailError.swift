/// The one error of the project: what failed, what to do about it, and where.
///
/// `message` is written for the person who reads it: it names the value that was wrong and the step that helps.
public struct NeedletailError: Error, Sendable, CustomStringConvertible {
    /// Who must act. The names and meanings follow the gRPC status codes, so that a code survives the wire unchanged.
    public enum Code: Int, Sendable, CaseIterable {
        /// As gRPC's documents write it: RESOURCE_EXHAUSTED.
        public var wireName: String { "\(self)".reduce(into: "") { $0 += $1.isUppercase ? "_\($1)" : $1.uppercased() } }

        /// The caller went away or asked to stop. Nobody acts.
        case cancelled = 1
        /// A peer answered something that has no better name. Call the operator.
        case unknown = 2
        /// The request is wrong and will stay wrong. Fix the request.
        case invalidArgument = 3
        /// Time ran out; the work may or may not have happened. Retry with more time if the operation is idempotent.
        case deadlineExceeded = 4
        /// The named thing does not exist. Fix the request.
        case notFound = 5
        /// The named thing exists already. Fix the request.
        case alreadyExists = 6
        /// The credentials do not allow this. Ask the operator for access.
        case permissionDenied = 7
        /// A limit (memory, disk, concurrency, message size) is reached. Back off and retry, or make room.
        case resourceExhausted = 8
        /// The state of the system forbids this now, and a plain retry will not help. Change the state first.
        case failedPrecondition = 9
        /// A race was lost (a stale epoch, a compare-and-swap). Read again and retry.
        case aborted = 10
        /// A position lies outside what exists. Fix the request.
        case outOfRange = 11
        /// This build does not do that. Use another method or version.
        case unimplemented = 12
        /// An invariant of the program broke. Report a bug.
        case `internal` = 13
        /// The one asked cannot answer now. Retry, elsewhere if there is an elsewhere.
        case unavailable = 14
        /// Stored bytes are damaged. Call the operator: repair the log, or delete the collection and import it again.
        case dataLoss = 15
        /// No credentials were given. Send some.
        case unauthenticated = 16
    }

    public var code: Code
    public var message: String
    /// What lay underneath, when something did.
    public var cause: (any Error)?
    /// The shard, file or peer concerned, for logs and clients.
    public var location: String?
    /// Before so long the same will not succeed; nil when nobody can tell.
    public var retryAfter: Duration?

    public init(_ code: Code, _ message: String, cause: (any Error)? = nil, location: String? = nil, retryAfter: Duration? = nil) {
        self.code = code
        self.message = message
        self.cause = cause
        self.location = location
        self.retryAfter = retryAfter
    }

    /// What an operator can do about a replica whose files are damaged elsewhere than in the log, as the end of a message.
    public static let damagedReplicaAdvice =
        "if another replica of the shard is in sync, this one is filled anew from it by itself; otherwise delete the collection and import it again"

    public var description: String {
        var text = "\(code): \(message)"
        if let location { text += " [\(location)]" }
        if let cause { text += " (caused by: \(cause))" }
        return text
    }
}

extension Result {
    public var failure: Failure? { if case .failure(let error) = self { error } else { nil } }
}
