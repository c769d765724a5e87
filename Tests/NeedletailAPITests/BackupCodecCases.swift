import NeedletailAPI
import NeedletailCore
import NeedletailTestSupport

extension CodecCase {
    static let backups = [
        CodecCase("createBackup", PublicMessages.createBackup) { BackupOrder(collection: $0.text(), target: $0.text(), name: $0.text()) },
        CodecCase("restoreBackup", PublicMessages.restoreBackup) {
            RestoreOrder(
                target: $0.text(), name: $0.text(), collection: $0.text(), shardCount: $0.below(256), replicationFactor: $0.below(7))
        },
        CodecCase("deleteBackup", PublicMessages.deleteBackup) { (target: $0.text(), name: $0.text()) },
        CodecCase("listBackups", PublicMessages.listBackups) { $0.text() },
        CodecCase("backups", PublicMessages.backups) { generator in
            generator.some(3) {
                var info = BackupInfo(name: $0.text())
                (info.collection, info.shards, info.createdMilliseconds) = ($0.text(), $0.below(100), Int64($0.below(1 << 40)))
                (info.bytes, info.newBytes, info.software) = ($0.number(), $0.number(), $0.text())
                (info.heldMicroseconds, info.problem) = ($0.number(), $0.text())
                return info
            }
        },
        CodecCase("verifyBackup", PublicMessages.verifyBackup) { (target: $0.text(), name: $0.text()) },
        CodecCase("backupVerified", PublicMessages.backupVerified) { generator in
            BackupVerification(objects: generator.number(), bytes: generator.number(), problems: generator.some(3) { $0.text() })
        },
        CodecCase("backupOperation", PublicMessages.backupOperation) { $0.backupOperation() },
        CodecCase("backupOperations", PublicMessages.backupOperations) { generator in generator.some(3) { $0.backupOperation() } },
        CodecCase("cancelBackup", PublicMessages.cancelBackup) { $0.next() },
        CodecCase("internal hold", InternalMessages.hold) {
            (shard: $0.shard(), epoch: $0.number(), token: $0.next(), limit: Duration.milliseconds($0.below(1_000)))
        },
        CodecCase("internal held", InternalMessages.held) { $0.number() },
        CodecCase("internal release", InternalMessages.release) { (shard: $0.shard(), epoch: $0.number(), token: $0.next()) },
        CodecCase("internal released", InternalMessages.released) { Duration.microseconds($0.below(1 << 30)) },
        CodecCase("internal store", InternalMessages.store) {
            ShardStore(shard: $0.shard(), copy: $0.next(), cut: $0.number(), target: $0.text())
        },
        CodecCase("internal stored", InternalMessages.stored) {
            StoredShard(
                index: PieceName(checksum: $0.bytes(32), sizeBytes: $0.number()), epoch: $0.number(), pieces: $0.number(), bytes: $0.number(),
                newPieces: $0.number(), newBytes: $0.number())
        },
    ]
}

extension SeededGenerator {
    fileprivate mutating func backupOperation() -> BackupOperationInfo {
        let kind: BackupKind = [.backup, .restore, .deletion][below(3)]
        var info = BackupOperationInfo(
            id: next(), kind: kind, target: text(), name: text(), collection: text(), step: text(), hasEnded: bool(), problem: text(),
            failure: bool() ? nil : .dataLoss)
        (info.progress, info.total, info.bytes, info.newBytes, info.heldMicroseconds) = (number(), number(), number(), number(), number())
        (info.createdMilliseconds, info.changedMilliseconds) = (Int64(below(1 << 40)), Int64(below(1 << 40)))
        return info
    }
}
