internal import Glibc
public import NeedletailCore
internal import NeedletailTelemetry
internal import Synchronization

/// Who changed what, and who was refused: one JSON object a line, appended to a file that only its owner reads.
public final class AuditLog: Sendable {
    /// A line. No secret ever gets here: callers are named by their name and, if they have a key, its id.
    public struct Entry: Sendable {
        public var principal: Principal?
        public var method: String
        /// The collection that it was about, if it was about one.
        public var collection: String?
        /// `OK`, or the name of the gRPC status.
        public var outcome: String
        public var reason: String?
        public var requestID: String?
        public var peer: String
        /// Another coordinator passed it on, which has a line of its own.
        public var isForwarded: Bool

        public init(
            principal: Principal?, method: String, collection: String?, outcome: String, reason: String?, requestID: String?, peer: String, isForwarded: Bool
        ) {
            self.principal = principal
            self.method = method
            self.collection = collection
            self.outcome = outcome
            self.reason = reason
            self.requestID = requestID
            self.peer = peer
            self.isForwarded = isForwarded
        }
    }

    private struct State {
        var descriptor: Int32 = -1
        var problem: String?
    }

    public let path: String
    private let state = Mutex(State())

    /// - Throws: `invalidArgument` when the file cannot be opened.
    public init(path: String) throws(NeedletailError) {
        self.path = path
        if let problem = state.withLock({ Self.open(path, &$0) }) {
            throw NeedletailError(.invalidArgument, "the audit log \(path) cannot be opened: \(problem)")
        }
    }

    deinit { state.withLock { if $0.descriptor >= 0 { close($0.descriptor) } } }

    /// After the file was moved away: the next lines go to a new one of its name.
    public func reopen() {
        state.withLock { state in
            if state.descriptor >= 0 { close(state.descriptor) }
            state.descriptor = -1
            if let problem = Self.open(path, &state) { state.problem = problem }
        }
    }

    /// - Returns: whether the line is written.
    @discardableResult
    public func write(_ entry: Entry) -> Bool {
        let line = Array(Self.line(entry, microseconds: WallClock.microseconds()).utf8)
        return state.withLock { state in
            state.problem = state.descriptor >= 0 ? Self.append(line, state.descriptor) : Self.open(path, &state) ?? Self.append(line, state.descriptor)
            return state.problem == nil
        }
    }

    /// Asked before what must not happen unseen: tries to write when the last line was lost.
    /// - Throws: `unavailable` when lines are being lost.
    public func checkWritable() throws(NeedletailError) {
        guard state.withLock({ $0.problem }) != nil else { return }
        write(Entry(principal: nil, method: "audit", collection: nil, outcome: "RESUMED", reason: nil, requestID: nil, peer: "", isForwarded: false))
        if let problem = state.withLock({ $0.problem }) {
            throw NeedletailError(
                .unavailable, "the audit log \(path) cannot be written (\(problem)), and changes that nobody can account for are not made; make room for it")
        }
    }

    private static func open(_ path: String, _ state: inout State) -> String? {
        let descriptor = unsafe Glibc.open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { return reason(errno) }
        state.descriptor = descriptor
        return nil
    }

    /// In one piece: lines of several processes in one file do not mix.
    private static func append(_ line: [UInt8], _ descriptor: Int32) -> String? {
        let written = unsafe line.withUnsafeBytes { unsafe Glibc.write(descriptor, $0.baseAddress, $0.count) }
        if written == line.count { return nil }
        return written < 0 ? reason(errno) : "a line was written in part"
    }

    private static func reason(_ code: Int32) -> String { unsafe String(cString: strerror(code)) }

    /// Names come from callers, who may send 64 MiB of one.
    private static func shortened(_ value: String) -> String {
        value.utf8.count <= longest ? value : String(value.unicodeScalars.prefix(longest / 4)) + "…"
    }

    private static let longest = 2_048

    static func line(_ entry: Entry, microseconds: Int64) -> String {
        var text = "{"
        func field(_ name: String, _ value: String?) {
            guard let value else { return }
            text += text.count > 1 ? "," : ""
            JSONText.append(name, to: &text)
            text += ":"
            JSONText.append(shortened(value), to: &text)
        }
        field("time", WallClock.text(microseconds))
        field("outcome", entry.outcome)
        field("method", entry.method)
        field("collection", entry.collection)
        field("caller", entry.principal?.info.name)
        switch entry.principal?.kind {
        case .key(let id): field("key", id)
        case .token: field("kind", "token")
        case .administrator: field("kind", "administrator")
        case .anyone, nil: break
        }
        field("reason", entry.reason)
        field("request", entry.requestID)
        field("peer", entry.peer.isEmpty ? nil : entry.peer)
        if entry.isForwarded { text += ",\"forwarded\":true" }
        return text + "}\n"
    }
}
