import CNeedletailMessages
import CProtobufC
import NIOCore
import NeedletailAPI
import NeedletailCore
import NeedletailGRPC
import NeedletailMetadata

/// The methods of etcd v3 that are called.
enum EtcdMethods {
    static let range = GRPCMethod(service: "etcdserverpb.KV", name: "Range")
    static let transaction = GRPCMethod(service: "etcdserverpb.KV", name: "Txn")
    static let watch = GRPCMethod(service: "etcdserverpb.Watch", name: "Watch")
    static let grantLease = GRPCMethod(service: "etcdserverpb.Lease", name: "LeaseGrant")
    static let revokeLease = GRPCMethod(service: "etcdserverpb.Lease", name: "LeaseRevoke")
    /// A stream both ways, of which one message each is used.
    static let keepLease = GRPCMethod(service: "etcdserverpb.Lease", name: "LeaseKeepAlive")
    static let authenticate = GRPCMethod(service: "etcdserverpb.Auth", name: "Authenticate")
}

/// What is sent to etcd. Keys come whole, with the prefix.
enum EtcdRequests {
    static func range(_ key: String) throws(NeedletailError) -> ByteBuffer { try range(Array(key.utf8), end: []) }

    /// Everything that begins with `prefix`, which is not empty.
    static func range(prefix: String) throws(NeedletailError) -> ByteBuffer { try range(Array(prefix.utf8), end: end(ofPrefix: prefix)) }

    private static func range(_ key: [UInt8], end: [UInt8]) throws(NeedletailError) -> ByteBuffer {
        try WireCoding.pack { arena throws(NeedletailError) in
            let message = try arena.make(Etcdserverpb__RangeRequest.self)
            message.pointee.key = try arena.bytes(key)
            message.pointee.range_end = try arena.bytes(end)
            return message
        }
    }

    /// The first key beyond all that begin with `prefix`: UTF-8 has no byte 255, so the last one can grow.
    private static func end(ofPrefix prefix: String) -> [UInt8] {
        var end = Array(prefix.utf8)
        end[end.count - 1] += 1
        return end
    }

    static func transaction(_ transaction: MetadataTransaction, prefix: String) throws(NeedletailError) -> ByteBuffer {
        try WireCoding.pack { arena throws(NeedletailError) in
            let message = try arena.make(Etcdserverpb__TxnRequest.self)
            message.pointee.n_compare = transaction.comparisons.count
            message.pointee.compare = try arena.list(transaction.comparisons) { comparison throws(NeedletailError) in
                try arena.compare(comparison, prefix)
            }
            message.pointee.n_success = transaction.operations.count
            message.pointee.success = try arena.list(transaction.operations) { operation throws(NeedletailError) in
                try arena.request(operation, prefix)
            }
            return message
        }
    }

    static func watch(prefix: String, from revision: UInt64) throws(NeedletailError) -> ByteBuffer {
        try WireCoding.pack { arena throws(NeedletailError) in
            let create = try arena.make(Etcdserverpb__WatchCreateRequest.self)
            create.pointee.key = try arena.bytes(Array(prefix.utf8))
            create.pointee.range_end = try arena.bytes(end(ofPrefix: prefix))
            create.pointee.start_revision = Int64(clamping: revision)
            create.pointee.progress_notify = 1
            let message = try arena.make(Etcdserverpb__WatchRequest.self)
            message.pointee.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST
            message.pointee.create_request = create
            return message
        }
    }

    static func grantLease(seconds: Int64) throws(NeedletailError) -> ByteBuffer {
        try WireCoding.pack { arena throws(NeedletailError) in
            let message = try arena.make(Etcdserverpb__LeaseGrantRequest.self)
            message.pointee.ttl = seconds
            return message
        }
    }

    static func revokeLease(_ id: Int64) throws(NeedletailError) -> ByteBuffer {
        try WireCoding.pack { arena throws(NeedletailError) in
            let message = try arena.make(Etcdserverpb__LeaseRevokeRequest.self)
            message.pointee.id = id
            return message
        }
    }

    static func keepLease(_ id: Int64) throws(NeedletailError) -> ByteBuffer {
        try WireCoding.pack { arena throws(NeedletailError) in
            let message = try arena.make(Etcdserverpb__LeaseKeepAliveRequest.self)
            message.pointee.id = id
            return message
        }
    }

    static func authenticate(user: String, password: String) throws(NeedletailError) -> ByteBuffer {
        try WireCoding.pack { arena throws(NeedletailError) in
            let message = try arena.make(Etcdserverpb__AuthenticateRequest.self)
            message.pointee.name = try arena.text(user)
            message.pointee.password = try arena.text(password)
            return message
        }
    }
}

extension MessageArena {
    fileprivate func compare(
        _ comparison: MetadataComparison, _ prefix: String
    ) throws(NeedletailError) -> UnsafeMutablePointer<Etcdserverpb__Compare> {
        let message = try make(Etcdserverpb__Compare.self)
        message.pointee.result = ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL
        switch comparison {
        case .value(let key, let value):
            message.pointee.key = try bytes(Array((prefix + key).utf8))
            message.pointee.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE
            message.pointee.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE
            message.pointee.value = try bytes(value)
        case .revision(let key, let revision):
            message.pointee.key = try bytes(Array((prefix + key).utf8))
            message.pointee.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD
            message.pointee.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION
            message.pointee.mod_revision = Int64(clamping: revision)
        case .absent(let key):
            // A key that is not there was created at revision 0.
            message.pointee.key = try bytes(Array((prefix + key).utf8))
            message.pointee.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE
            message.pointee.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION
            message.pointee.create_revision = 0
        }
        return message
    }

    fileprivate func request(
        _ operation: MetadataOperation, _ prefix: String
    ) throws(NeedletailError) -> UnsafeMutablePointer<Etcdserverpb__RequestOp> {
        let message = try make(Etcdserverpb__RequestOp.self)
        let key = try bytes(Array((prefix + operation.key).utf8))
        switch operation {
        case .put(_, let value, let lease):
            let put = try make(Etcdserverpb__PutRequest.self)
            put.pointee.key = key
            put.pointee.value = try bytes(value)
            put.pointee.lease = lease?.id ?? 0
            message.pointee.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT
            message.pointee.request_put = put
        case .delete:
            let deletion = try make(Etcdserverpb__DeleteRangeRequest.self)
            deletion.pointee.key = key
            message.pointee.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE
            message.pointee.request_delete_range = deletion
        }
        return message
    }
}
