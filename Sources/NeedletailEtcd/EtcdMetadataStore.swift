import NeedletailCore
import NeedletailGRPC
public import NeedletailHTTP2
public import NeedletailMetadata

/// The metadata of a cluster with several coordinators, in etcd v3 (3.4 or newer).
///
/// Every call has a deadline and is asked of one member after the other. A transaction whose answer was lost is not repeated: its outcome is
/// `unknown`. Leases are whole seconds, at least what etcd grants (about one and a half of its election timeouts).
public final class EtcdMetadataStore: MetadataStore {
    public let isExclusive = false
    private let connection: EtcdConnection
    private let threads: TransportThreads
    private let prefix: String

    /// Connects at the first call, on a thread of its own: a lease must be kept alive however busy others are.
    /// - Parameters:
    ///   - credentials: for an etcd that speaks TLS; its members are asked for certificates with their names.
    ///   - timeout: how long a call may take.
    public init(_ address: EtcdAddress, credentials: TLSCredentials? = nil, timeout: Duration = .seconds(3)) {
        precondition(!address.endpoints.isEmpty && !address.prefix.isEmpty, "an etcd address has an endpoint and a prefix")
        threads = TransportThreads(count: 1)
        connection = EtcdConnection(address, tls: credentials.map { .client($0) }, threads: threads, timeout: timeout)
        prefix = address.prefix
    }

    public func get(_ key: String) async throws -> MetadataEntry? {
        let answer = try await connection.call(EtcdMethods.range, try EtcdRequests.range(prefix + key))
        return try EtcdAnswers.range(answer, prefixBytes: prefix.utf8.count).entries.first
    }

    public func entries(prefix: String) async throws -> MetadataSnapshot {
        let answer = try await connection.call(EtcdMethods.range, try EtcdRequests.range(prefix: self.prefix + prefix))
        return try EtcdAnswers.range(answer, prefixBytes: self.prefix.utf8.count)
    }

    public func transact(_ transaction: MetadataTransaction) async throws -> MetadataOutcome {
        try transaction.validate()
        let request = try EtcdRequests.transaction(transaction, prefix: prefix)
        return try EtcdAnswers.transaction(try await connection.call(EtcdMethods.transaction, request, .unsafe))
    }

    public func watch(prefix: String, after revision: UInt64) -> MetadataWatch {
        let watch = EtcdWatch(connection, prefix: self.prefix + prefix, prefixBytes: self.prefix.utf8.count, after: revision)
        return AsyncThrowingStream { try await watch.next() }
    }

    public func grantLease(_ length: Duration) async throws -> MetadataLease {
        let (seconds, rest) = length.components
        // A grant whose answer is lost ends by itself.
        return try EtcdAnswers.grantedLease(
            try await connection.call(EtcdMethods.grantLease, try EtcdRequests.grantLease(seconds: max(1, seconds + (rest > 0 ? 1 : 0)))))
    }

    public func keepAlive(_ lease: MetadataLease) async throws {
        // An answer that comes when most of the lease has gone helps little: rather ask again.
        let answer = try await connection.call(
            EtcdMethods.keepLease, try EtcdRequests.keepLease(lease.id), within: min(connection.timeout, lease.length / 2), isStream: true)
        guard try EtcdAnswers.keptLease(answer) > 0 else { throw NeedletailError.leaseIsOver }
    }

    public func revoke(_ lease: MetadataLease) async throws {
        do { _ = try await connection.call(EtcdMethods.revokeLease, try EtcdRequests.revokeLease(lease.id)) } catch let error as NeedletailError
            where error.code == .notFound
        {}
    }

    public func close() async {
        guard await connection.close() else { return }
        await threads.shutdown()
    }
}
