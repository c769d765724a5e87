import CNeedletailMessages
import CProtobufC
public import NeedletailCore

extension PublicMessages {
    public static let createBackup = MessageCodec<BackupOrder>(
        write: { order, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__CreateBackupRequest.self)
            message.pointee.collection = try arena.text(order.collection)
            message.pointee.target = try arena.text(order.target)
            message.pointee.name = try arena.text(order.name)
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__CreateBackupRequest>) in
            BackupOrder(collection: string(message.pointee.collection), target: string(message.pointee.target), name: string(message.pointee.name))
        })

    public static let restoreBackup = MessageCodec<RestoreOrder>(
        write: { order, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__RestoreBackupRequest.self)
            message.pointee.target = try arena.text(order.target)
            message.pointee.name = try arena.text(order.name)
            message.pointee.collection = try arena.text(order.collection)
            message.pointee.shard_count = UInt32(clamping: order.shardCount)
            message.pointee.replication_factor = UInt32(clamping: order.replicationFactor)
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__RestoreBackupRequest>) in
            RestoreOrder(
                target: string(message.pointee.target), name: string(message.pointee.name), collection: string(message.pointee.collection),
                shardCount: Int(message.pointee.shard_count), replicationFactor: Int(message.pointee.replication_factor))
        })

    public static let deleteBackup = MessageCodec<(target: String, name: String)>(
        write: { backup, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__DeleteBackupRequest.self)
            message.pointee.target = try arena.text(backup.target)
            message.pointee.name = try arena.text(backup.name)
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__DeleteBackupRequest>) in
            (target: string(message.pointee.target), name: string(message.pointee.name))
        })

    public static let listBackups = MessageCodec<String>(
        write: { target, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__ListBackupsRequest.self)
            message.pointee.target = try arena.text(target)
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__ListBackupsRequest>) in string(message.pointee.target) })

    public static let backups = MessageCodec<[BackupInfo]>(
        write: { backups, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__ListBackupsResponse.self)
            message.pointee.n_backups = backups.count
            message.pointee.backups = try arena.list(backups) { backup throws(NeedletailError) in
                let part = try arena.make(Needletail__V1__Backup.self)
                part.pointee.name = try arena.text(backup.name)
                part.pointee.collection = try arena.text(backup.collection)
                part.pointee.shards = UInt32(clamping: backup.shards)
                part.pointee.created_milliseconds = backup.createdMilliseconds
                part.pointee.bytes = backup.bytes
                part.pointee.new_bytes = backup.newBytes
                part.pointee.software = try arena.text(backup.software)
                part.pointee.held_microseconds = backup.heldMicroseconds
                part.pointee.problem = try arena.text(backup.problem)
                return part
            }
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__ListBackupsResponse>) throws(NeedletailError) in
            try messages(message.pointee.backups, message.pointee.n_backups) { part in
                var backup = BackupInfo(name: string(part.pointee.name))
                backup.collection = string(part.pointee.collection)
                backup.shards = Int(part.pointee.shards)
                backup.createdMilliseconds = part.pointee.created_milliseconds
                backup.bytes = part.pointee.bytes
                backup.newBytes = part.pointee.new_bytes
                backup.software = string(part.pointee.software)
                backup.heldMicroseconds = part.pointee.held_microseconds
                backup.problem = string(part.pointee.problem)
                return backup
            }
        })

    public static let verifyBackup = MessageCodec<(target: String, name: String)>(
        write: { backup, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__VerifyBackupRequest.self)
            message.pointee.target = try arena.text(backup.target)
            message.pointee.name = try arena.text(backup.name)
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__VerifyBackupRequest>) in
            (target: string(message.pointee.target), name: string(message.pointee.name))
        })

    public static let backupVerified = MessageCodec<BackupVerification>(
        write: { found, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__VerifyBackupResponse.self)
            message.pointee.objects = found.objects
            message.pointee.bytes = found.bytes
            message.pointee.n_problems = found.problems.count
            message.pointee.problems = try arena.texts(found.problems)
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__VerifyBackupResponse>) in
            BackupVerification(
                objects: message.pointee.objects, bytes: message.pointee.bytes, problems: texts(message.pointee.problems, message.pointee.n_problems))
        })

    public static let backupOperation = MessageCodec<BackupOperationInfo>(
        write: { info, arena throws(NeedletailError) in try arena.backupOperation(info) },
        read: { message throws(NeedletailError) in try BackupOperationInfo(message) })

    public static let listBackupOperations = MessageCodec<Void>(
        write: { _, arena throws(NeedletailError) in try arena.make(Needletail__V1__ListBackupOperationsRequest.self) },
        read: { (_: UnsafePointer<Needletail__V1__ListBackupOperationsRequest>) in })

    public static let backupOperations = MessageCodec<[BackupOperationInfo]>(
        write: { operations, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__ListBackupOperationsResponse.self)
            message.pointee.n_operations = operations.count
            message.pointee.operations = try arena.list(operations, arena.backupOperation)
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__ListBackupOperationsResponse>) throws(NeedletailError) in
            try messages(message.pointee.operations, message.pointee.n_operations) { one throws(NeedletailError) in try BackupOperationInfo(one) }
        })

    public static let cancelBackup = MessageCodec<UInt64>(
        write: { id, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__CancelBackupRequest.self)
            message.pointee.id = try arena.text(hexadecimal(id))
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__CancelBackupRequest>) throws(NeedletailError) in
            try hexadecimal(string(message.pointee.id), "id")
        })
}

extension MessageArena {
    fileprivate func backupOperation(_ info: BackupOperationInfo) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__V1__BackupOperation> {
        let message = try make(Needletail__V1__BackupOperation.self)
        message.pointee.id = try text(hexadecimal(info.id))
        message.pointee.kind = Needletail__V1__BackupKind(rawValue: numericCast(info.kind.rawValue))
        message.pointee.target = try text(info.target)
        message.pointee.name = try text(info.name)
        message.pointee.collection = try text(info.collection)
        message.pointee.step = try text(info.step)
        message.pointee.ended = info.hasEnded ? 1 : 0
        message.pointee.problem = try text(info.problem)
        message.pointee.error_code = UInt32(info.failure?.rawValue ?? 0)
        message.pointee.progress = info.progress
        message.pointee.total = info.total
        message.pointee.bytes = info.bytes
        message.pointee.new_bytes = info.newBytes
        message.pointee.held_microseconds = info.heldMicroseconds
        message.pointee.created_milliseconds = info.createdMilliseconds
        message.pointee.changed_milliseconds = info.changedMilliseconds
        return message
    }
}

extension BackupOperationInfo {
    fileprivate init(_ message: UnsafePointer<Needletail__V1__BackupOperation>) throws(NeedletailError) {
        let info = message.pointee
        guard let kind = UInt8(exactly: info.kind.rawValue).flatMap(BackupKind.init) else {
            throw NeedletailError(.invalidArgument, "kind \(info.kind.rawValue) of an operation is unknown to this version")
        }
        self.init(
            id: try hexadecimal(string(info.id), "id"), kind: kind, target: string(info.target), name: string(info.name),
            collection: string(info.collection), step: string(info.step), hasEnded: info.ended != 0, problem: string(info.problem),
            failure: NeedletailError.Code(rawValue: Int(info.error_code)))
        (progress, total, bytes, newBytes) = (info.progress, info.total, info.bytes, info.new_bytes)
        heldMicroseconds = info.held_microseconds
        (createdMilliseconds, changedMilliseconds) = (info.created_milliseconds, info.changed_milliseconds)
    }
}
