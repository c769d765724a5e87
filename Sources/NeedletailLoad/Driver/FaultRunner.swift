import Foundation
import NeedletailClient

/// Does to a cluster what a scenario says, by signals and by the public API.
struct FaultRunner: Sendable {
    /// nil: the cluster runs elsewhere.
    let local: LocalTarget?
    let operations: RemoteCluster
    let collection: String

    /// Performs a fault; returns when it is over. One that is cancelled meanwhile leaves no process paused.
    func perform(_ deed: Fault.Deed) async throws {
        switch deed {
        case .kill(let member): try await local?.kill(member)
        case .pause(let member, let seconds):
            try await local?.pause(member)
            try? await Task.sleep(for: .seconds(seconds))
            try await local?.resume(member)
        case .slow(let member, let share, let seconds): try await slow(member, share, seconds)
        case .start(let member): try await local?.start(member)
        case .restart(let member): try await local?.restart(member)
        case .join: try await local?.join()
        case .drain(let member):
            _ = try await operations.drain(try await node(member), isDrained: true, deadline: .after(.seconds(10)))
        case .undrain(let member):
            _ = try await operations.drain(try await node(member), isDrained: false, deadline: .after(.seconds(10)))
        case .move(let shard, let member): try await move(shard, to: try await node(member))
        case .run(let command): try await run(command)
        }
    }

    /// Stopped and let go on by turns of 20 ms.
    private func slow(_ member: Fault.Member, _ share: Double, _ seconds: Double) async throws {
        let end = ContinuousClock.now.advanced(by: .seconds(seconds))
        while ContinuousClock.now < end, !Task.isCancelled {
            try await local?.pause(member)
            try? await Task.sleep(for: .seconds(0.02 * (1 - share)))
            try await local?.resume(member)
            try? await Task.sleep(for: .seconds(0.02 * share))
        }
    }

    private func node(_ member: Fault.Member) async throws -> UInt64 {
        var address = member.text
        if let local { address = try await local.address(of: member) }
        let nodes = try await operations.nodes(deadline: .after(.seconds(10)))
        guard let node = nodes.first(where: { $0.address == address }) else {
            throw NeedletailError(
                .notFound, "no worker has the address \(address); there are \(nodes.map(\.address).joined(separator: ", "))")
        }
        return node.id
    }

    /// From a replica that is not the primary where there is one, since that is the lesser change; never one that is there already.
    private func move(_ shard: UInt32, to node: UInt64) async throws {
        let shards = try await operations.shards(of: collection, deadline: .after(.seconds(10)))
        guard let replicas = shards.first(where: { $0.number == shard })?.replicas else {
            throw NeedletailError(.notFound, "collection \(collection) has no shard \(shard)")
        }
        let from = replicas.filter { $0.node != node }.min { !$0.isPrimary && $1.isPrimary }?.node
        _ = try await operations.move(
            MoveOrder(collection: collection, shard: shard, from: from, to: node), deadline: .after(.seconds(10)))
    }

    private func run(_ command: String) async throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-c", command]
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle.standardError
        try process.run()
        while process.isRunning {
            if Task.isCancelled { process.terminate() }
            try? await Task.sleep(for: .milliseconds(20))
        }
        guard process.terminationStatus == 0 else {
            throw NeedletailError(.unknown, "the command ended with \(process.terminationStatus)")
        }
    }
}
