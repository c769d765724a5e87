import NIOCore
import NeedletailCore
import NeedletailGRPC
import NeedletailHTTP2
import Synchronization

/// The way to an etcd cluster: its members in turn, and the token that says who we are.
final class EtcdConnection: Sendable {
    /// How long a call may take, over all members.
    let timeout: Duration
    private let members: [GRPCClient]
    private let names: String
    private let user: String?
    private let password: String

    private struct State {
        var preferred = 0
        var token: String?
        var isClosed = false
    }

    private let state = Mutex(State())

    init(_ address: EtcdAddress, tls: ConnectionTLS?, threads: TransportThreads, timeout: Duration) {
        self.timeout = timeout
        (user, password) = (address.user, address.password)
        var configuration = GRPCClientConfiguration()
        configuration.tls = tls
        configuration.connectTimeout = .seconds(1)
        configuration.handshakeTimeout = .seconds(1)
        configuration.maxBackoff = .milliseconds(500)
        // etcd hangs up on those who ping more often than every 5 s (--grpc-keepalive-min-time).
        configuration.keepaliveInterval = .seconds(6)
        configuration.keepaliveTimeout = .seconds(3)
        members = address.endpoints.map { GRPCClient(host: $0.host, port: $0.port, configuration: configuration, group: threads.group) }
        names = address.endpoints.map { "\($0.host):\($0.port)" }.joined(separator: ", ")
    }

    var isClosed: Bool { state.withLock { $0.isClosed } }
    var memberCount: Int { members.count }

    /// - Returns: false when it was closed already.
    func close() async -> Bool {
        let isFirst = state.withLock { state in
            defer { state.isClosed = true }
            return !state.isClosed
        }
        if isFirst { for member in members { await member.close() } }
        return isFirst
    }

    /// What may happen to a call whose answer did not come.
    enum Repetition {
        /// It is made again: twice is as good as once.
        case safe
        /// It is not, since it may have been worked on.
        case unsafe
    }

    /// Asks one member after the other until one answers or the time is up.
    ///
    /// - Parameter isStream: the method has a stream both ways, of which one message each is used.
    /// - Throws: `unavailable` when nothing was done, `unknown` when that is not known of a call that is not safe to repeat.
    func call(
        _ method: GRPCMethod, _ request: ByteBuffer, _ repetition: Repetition = .safe, within time: Duration? = nil, isStream: Bool = false
    ) async throws -> ByteBuffer {
        let time = time ?? timeout
        let deadline = Deadline.after(time)
        // A member that hangs leaves time to ask another.
        let share = repetition == .safe ? time / 3 : time
        var (failures, renewals) = (0, 0)
        var reason: NeedletailError?
        while true {
            let member = preferred
            do {
                let options = try await options(deadline: min(deadline, .after(share)))
                guard isStream else { return try await members[member].unary(method, request, options: options) }
                for try await answer in try await members[member].serverStreaming(method, request, options: options) { return answer }
                throw NeedletailError(.unavailable, "the member ended the call without an answer")
            } catch {
                try Task.checkCancellation()
                switch EtcdVerdict(error) {
                case .tokenRefused where user != nil && renewals < 2:
                    renewals += 1
                    dropToken()
                    continue
                case .tokenRefused(let error), .final(let error): throw error
                case .unanswered(let error) where repetition == .unsafe:
                    failed(member)
                    throw outcomeUnknown(error)
                case .unanswered(let error), .notDone(let error):
                    failed(member)
                    failures += 1
                    // The last attempt may have had no time left to come upon the reason again.
                    if error.code != .deadlineExceeded { reason = error }
                    // A round of all members, then a pause.
                    let pause = Duration.milliseconds(failures % members.count == 0 ? 50 : 0)
                    guard !isClosed, deadline.remaining > pause else { throw unavailable(reason ?? error) }
                    if pause > .zero { try await Task.sleep(for: pause) }
                }
            }
        }
    }

    private func unavailable(_ last: NeedletailError) -> NeedletailError {
        NeedletailError(
            .unavailable, "etcd does not answer at \(names); check that most of its members run and can be reached. Nothing was changed: \(last.message)",
            cause: last, location: names)
    }

    private func outcomeUnknown(_ last: NeedletailError) -> NeedletailError {
        NeedletailError(
            .unknown, "etcd did not say whether the change was made; read again before another attempt: \(last.message)", cause: last, location: names)
    }

    // MARK: Members

    var preferred: Int { state.withLock { $0.preferred } }

    /// The next call goes to the next member, unless somebody has moved on already.
    func failed(_ member: Int) {
        state.withLock { if $0.preferred == member { $0.preferred = (member + 1) % members.count } }
    }

    /// Opens a stream both ways with one member. It has no deadline; a dead connection is noticed by pings.
    func open(_ method: GRPCMethod, member: Int) async throws -> BidirectionalCall {
        try await members[member].bidirectional(method, options: try await options(deadline: nil))
    }

    // MARK: Who we are

    func dropToken() { state.withLock { $0.token = nil } }

    /// `hasleader`: a member cut off from the others refuses at once, and ends a watch, instead of keeping silent.
    private func options(deadline: Deadline?) async throws -> CallOptions {
        var options = CallOptions(deadline: deadline)
        options.metadata = ["hasleader": "true"]
        if let user { options.metadata.append(try await token(user, deadline ?? .after(timeout)), for: "token") }
        return options
    }

    private func token(_ user: String, _ deadline: Deadline) async throws -> String {
        if let token = state.withLock({ $0.token }) { return token }
        let request = try EtcdRequests.authenticate(user: user, password: password)
        let token = try EtcdAnswers.token(try await members[preferred].unary(EtcdMethods.authenticate, request, options: CallOptions(deadline: deadline)))
        state.withLock { $0.token = token }
        return token
    }
}
