import NeedletailCore
import NeedletailGRPC
import NeedletailMetadata

/// One watch over as many streams as it takes: a stream that ends is followed by another, from the first revision not yet told.
///
/// etcd never splits a revision's changes over two messages unless asked to, so what a message ends with is told wholly.
actor EtcdWatch {
    private let connection: EtcdConnection
    private let prefix: String
    private let prefixBytes: Int
    /// Told up to here.
    private var seen: UInt64
    private var stream: Stream?
    private var isOver = false
    /// Failures in a row.
    private var failures = 0

    private struct Stream {
        let member: Int
        let call: BidirectionalCall
        let messages: ResponseStream.Iterator
    }

    init(_ connection: EtcdConnection, prefix: String, prefixBytes: Int, after revision: UInt64) {
        self.connection = connection
        self.prefix = prefix
        self.prefixBytes = prefixBytes
        seen = revision
    }

    func next() async throws -> MetadataNews? {
        while !isOver, !connection.isClosed {
            do {
                let stream = try await opened()
                // A copy of the iterator reads the same stream.
                var messages = stream.messages
                guard let message = try await messages.next() else { throw NeedletailError(.unavailable, "etcd ended the watch") }
                if let news = try take(try EtcdAnswers.watch(message, prefixBytes: prefixBytes)) { return news }
            } catch {
                try Task.checkCancellation()
                try await recover(from: error)
            }
        }
        return nil
    }

    private func take(_ watched: EtcdAnswers.Watched) throws -> MetadataNews? {
        if watched.compactRevision != 0 {
            (isOver, stream) = (true, nil)
            return .compacted
        }
        if watched.isCancelled {
            // A watch has no other way of saying that a token is old.
            let code: NeedletailError.Code = watched.reason.contains("permission denied") ? .unauthenticated : .unavailable
            throw NeedletailError(code, "etcd ended the watch: \(watched.reason)")
        }
        if watched.isFirst { return nil }
        failures = 0
        // A message without changes says how far the watch is.
        seen = max(seen, watched.changes.last?.revision ?? watched.revision)
        return watched.changes.isEmpty ? nil : .changes(watched.changes, revision: seen)
    }

    private func opened() async throws -> Stream {
        if let stream { return stream }
        let member = connection.preferred
        let call = try await connection.open(EtcdMethods.watch, member: member)
        let opened = Stream(member: member, call: call, messages: call.responses.makeAsyncIterator())
        stream = opened
        try await call.send(try EtcdRequests.watch(prefix: prefix, from: seen + 1))
        return opened
    }

    /// - Throws: what no retry can help.
    private func recover(from error: any Error) async throws {
        let member = stream?.member ?? connection.preferred
        stream = nil
        if connection.isClosed { return }
        failures += 1
        switch EtcdVerdict(error) {
        case .tokenRefused(let error):
            guard failures <= 2 else { throw NeedletailError(.permissionDenied, error.message, cause: error) }
            connection.dropToken()
        case .final(let error): throw error
        case .notDone, .unanswered:
            connection.failed(member)
            // All members once, then slower and slower.
            let rounds = failures / connection.memberCount
            if rounds > 0 { try await Task.sleep(for: .milliseconds(min(1000, 25 << min(rounds, 6)))) }
        }
    }
}
