package import CNeedletailMessages
import NeedletailAPI

// The structs that are messages of their own, sent or read.
extension Etcdserverpb__RangeRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { etcdserverpb__range_request__init(message) }
}
extension Etcdserverpb__RangeResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { etcdserverpb__range_response__init(message) }
}
extension Etcdserverpb__PutRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { etcdserverpb__put_request__init(message) }
}
extension Etcdserverpb__DeleteRangeRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { etcdserverpb__delete_range_request__init(message) }
}
extension Etcdserverpb__Compare: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { etcdserverpb__compare__init(message) }
}
extension Etcdserverpb__RequestOp: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { etcdserverpb__request_op__init(message) }
}
extension Etcdserverpb__TxnRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { etcdserverpb__txn_request__init(message) }
}
extension Etcdserverpb__TxnResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { etcdserverpb__txn_response__init(message) }
}
extension Etcdserverpb__WatchRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { etcdserverpb__watch_request__init(message) }
}
extension Etcdserverpb__WatchCreateRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { etcdserverpb__watch_create_request__init(message) }
}
extension Etcdserverpb__WatchResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { etcdserverpb__watch_response__init(message) }
}
extension Etcdserverpb__LeaseGrantRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { etcdserverpb__lease_grant_request__init(message) }
}
extension Etcdserverpb__LeaseGrantResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { etcdserverpb__lease_grant_response__init(message) }
}
extension Etcdserverpb__LeaseRevokeRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { etcdserverpb__lease_revoke_request__init(message) }
}
extension Etcdserverpb__LeaseKeepAliveRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { etcdserverpb__lease_keep_alive_request__init(message) }
}
extension Etcdserverpb__LeaseKeepAliveResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { etcdserverpb__lease_keep_alive_response__init(message) }
}
extension Etcdserverpb__AuthenticateRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { etcdserverpb__authenticate_request__init(message) }
}
extension Etcdserverpb__AuthenticateResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { etcdserverpb__authenticate_response__init(message) }
}
