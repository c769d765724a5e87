package import CNeedletailMessages

// needletail/v1/backup.proto
extension Needletail__V1__CreateBackupRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__create_backup_request__init(message) }
}
extension Needletail__V1__RestoreBackupRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__restore_backup_request__init(message) }
}
extension Needletail__V1__DeleteBackupRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__delete_backup_request__init(message) }
}
extension Needletail__V1__BackupOperation: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__backup_operation__init(message) }
}
extension Needletail__V1__ListBackupsRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__list_backups_request__init(message) }
}
extension Needletail__V1__ListBackupsResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__list_backups_response__init(message) }
}
extension Needletail__V1__Backup: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__backup__init(message) }
}
extension Needletail__V1__VerifyBackupRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__verify_backup_request__init(message) }
}
extension Needletail__V1__VerifyBackupResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__verify_backup_response__init(message) }
}
extension Needletail__V1__ListBackupOperationsRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__list_backup_operations_request__init(message) }
}
extension Needletail__V1__ListBackupOperationsResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__list_backup_operations_response__init(message) }
}
extension Needletail__V1__CancelBackupRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__cancel_backup_request__init(message) }
}

// Backups in needletail/internal/v1/shard.proto
extension Needletail__Internal__V1__HoldRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__hold_request__init(message) }
}
extension Needletail__Internal__V1__HoldReply: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__hold_reply__init(message) }
}
extension Needletail__Internal__V1__ReleaseRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__release_request__init(message) }
}
extension Needletail__Internal__V1__ReleaseReply: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__release_reply__init(message) }
}
extension Needletail__Internal__V1__StoreRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__store_request__init(message) }
}
extension Needletail__Internal__V1__Piece: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__piece__init(message) }
}
extension Needletail__Internal__V1__StoreReply: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__store_reply__init(message) }
}
extension Needletail__Internal__V1__RestoreRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__restore_request__init(message) }
}
