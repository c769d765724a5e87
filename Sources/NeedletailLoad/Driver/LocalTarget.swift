import Foundation
import NeedletailClient

/// The cluster that a scenario starts on this machine, and what faults do to its processes.
actor LocalTarget {
    private let cluster: LocalCluster

    init(workers: Int, workerFlags: [String], coordinatorFlags: [String]) throws {
        let cluster = try LocalCluster()
        do {
            try cluster.start(shardWorkers: workers, coordinatorArguments: coordinatorFlags, workerArguments: workerFlags)
        } catch {
            cluster.stop()
            throw error
        }
        self.cluster = cluster
    }

    var endpoint: String { cluster.endpoint }
    var workers: Int { cluster.names.count { $0.hasPrefix("shard-") } }

    private func name(_ member: Fault.Member) throws -> String {
        let name =
            switch member {
            case .coordinator: "coordinator"
            case .worker(let number): "shard-\(number)"
            case .address(let address): address
            }
        guard cluster.address(of: name) != nil else { throw NeedletailError(.notFound, "there is no \(member.text) yet") }
        return name
    }

    func address(of member: Fault.Member) throws -> String {
        if case .address(let address) = member { return address }
        return cluster.address(of: try name(member)) ?? ""
    }

    func kill(_ member: Fault.Member) throws { cluster.signal(try name(member), SIGKILL) }
    func pause(_ member: Fault.Member) throws { cluster.signal(try name(member), SIGSTOP) }
    func resume(_ member: Fault.Member) throws { cluster.signal(try name(member), SIGCONT) }
    func join() throws { try cluster.addWorker() }

    func start(_ member: Fault.Member) async throws {
        let name = try name(member)
        // After a kill the system may need a moment to say that the process has ended.
        for _ in 0..<100 where cluster.isRunning(name) { try await Task.sleep(for: .milliseconds(10)) }
        try cluster.startAgain(name)
    }

    func restart(_ member: Fault.Member) async throws {
        let name = try name(member)
        cluster.signal(name, SIGTERM)
        while cluster.isRunning(name) { try await Task.sleep(for: .milliseconds(10)) }
        try cluster.startAgain(name)
    }

    func stop() { cluster.stop() }
}
