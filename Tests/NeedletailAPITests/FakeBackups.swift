import NeedletailAPI
import NeedletailCore

extension FakeCluster {
    func createBackup(_ order: BackupOrder, deadline: Deadline?) async throws -> BackupOperationInfo {
        BackupOperationInfo(
            id: 7, kind: .backup, target: order.target, name: order.name, collection: order.collection, step: "storing", hasEnded: false, problem: "")
    }

    func restoreBackup(_ order: RestoreOrder, deadline: Deadline?) async throws -> BackupOperationInfo {
        BackupOperationInfo(
            id: 8, kind: .restore, target: order.target, name: order.name, collection: order.collection, step: "planning", hasEnded: false, problem: "")
    }

    func deleteBackup(_ name: String, in target: String, deadline: Deadline?) async throws -> BackupOperationInfo {
        BackupOperationInfo(id: 9, kind: .deletion, target: target, name: name, collection: "", step: "removing", hasEnded: false, problem: "")
    }

    func backups(in target: String, deadline: Deadline?) async throws -> [BackupInfo] { [BackupInfo(name: "in " + target)] }

    func verifyBackup(_ name: String, in target: String, deadline: Deadline?) async throws -> BackupVerification {
        BackupVerification(objects: 1, bytes: 2, problems: [name])
    }

    func backupOperations(deadline: Deadline?) async throws -> [BackupOperationInfo] { [] }

    func cancelBackupOperation(_ id: UInt64, deadline: Deadline?) async throws -> BackupOperationInfo {
        BackupOperationInfo(id: id, kind: .restore, target: "", name: "", collection: "", step: "cancelled", hasEnded: true, problem: "")
    }
}
