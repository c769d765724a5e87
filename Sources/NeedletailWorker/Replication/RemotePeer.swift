internal import NeedletailAPI
internal import NeedletailCluster
internal import NeedletailCore
internal import NeedletailGRPC
internal import Synchronization

/// The other shard workers that this one has had to do with: one connection an address.
final class Peers: Sendable {
    private let connect: @Sendable (_ host: String, _ port: Int) -> GRPCClient
    private let clients = Mutex<[String: GRPCClient]>([:])

    init(connect: @escaping @Sendable (_ host: String, _ port: Int) -> GRPCClient) { self.connect = connect }

    /// - Throws: `invalidArgument` for what is no address.
    func client(_ address: String) throws -> GRPCClient {
        let (host, port) = try Endpoint.parse(address)
        return clients.withLock { clients in
            if let known = clients[address] { return known }
            let made = connect(host, port)
            clients[address] = made
            return made
        }
    }

    func close() async {
        let all = clients.withLock { clients in
            defer { clients = [:] }
            return Array(clients.values)
        }
        for client in all { await client.close() }
    }
}

struct RemotePeer: ReplicationPeer {
    let client: GRPCClient

    var operations: any ReplicationOperations { RemoteReplication(client) }

    func follow() async throws -> any FollowStream { RemoteFollowStream(call: try await RemoteReplication(client).follow()) }
}

private struct RemoteFollowStream: FollowStream {
    let call: FollowCall

    func start(_ shard: ShardID, _ follow: Follow) async throws { try await call.send(.start(shard, follow)) }
    func acknowledge(durable: UInt64) async throws { try await call.send(.durable(durable)) }
    func cancel() { call.cancel() }

    func read(answer: (FollowAnswer) async throws -> Void, records: (StreamedRecords, [LogRecord]) async throws -> Void) async throws {
        try await call.read { reply in
            switch reply {
            case .answer(let value): try await answer(value)
            case .records(let message):
                guard message.records.enumerated().allSatisfy({ $1.sequence == message.previous + 1 + UInt64($0) }) else {
                    throw NeedletailError(.dataLoss, "the primary's records do not follow each other; the stream is begun anew")
                }
                try await records(StreamedRecords(message), message.records)
            }
        }
    }
}

extension StreamedRecords {
    fileprivate init(_ message: RecordMessage) {
        var runs: [EpochHistory.Run] = []
        for record in message.records where record.epoch != runs.last?.epoch {
            runs.append(EpochHistory.Run(epoch: record.epoch, first: record.sequence))
        }
        self.init(
            epoch: message.epoch, previous: message.previous, committed: message.committed, runs: runs,
            last: message.records.last?.sequence ?? message.previous)
    }
}
