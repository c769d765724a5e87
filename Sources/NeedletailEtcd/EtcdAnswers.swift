import CNeedletailMessages
import CProtobufC
import NIOCore
import NeedletailAPI
import NeedletailCore
import NeedletailMetadata

/// What etcd answers. Keys lose the prefix, which is of so many bytes.
enum EtcdAnswers {
    static func range(_ answer: ByteBuffer, prefixBytes: Int) throws -> MetadataSnapshot {
        try read(answer) { (message: UnsafePointer<Etcdserverpb__RangeResponse>) throws(NeedletailError) in
            let entries = try messages(message.pointee.kvs, message.pointee.n_kvs) { pair in
                MetadataEntry(
                    key: key(pair.pointee.key, prefixBytes), value: byteArray(pair.pointee.value), revision: UInt64(clamping: pair.pointee.mod_revision))
            }
            return MetadataSnapshot(entries: entries, revision: revision(message.pointee.header))
        }
    }

    static func transaction(_ answer: ByteBuffer) throws -> MetadataOutcome {
        try read(answer) { (message: UnsafePointer<Etcdserverpb__TxnResponse>) in
            MetadataOutcome(succeeded: message.pointee.succeeded != 0, revision: revision(message.pointee.header))
        }
    }

    /// One message of a watch.
    struct Watched {
        /// Of the store: everything up to it has been told, unless this is the first message.
        var revision: UInt64
        var isFirst: Bool
        var isCancelled: Bool
        var reason: String
        /// What was asked for is gone up to here; 0: it is not.
        var compactRevision: Int64
        var changes: [MetadataChange]
    }

    static func watch(_ answer: ByteBuffer, prefixBytes: Int) throws -> Watched {
        try read(answer) { (message: UnsafePointer<Etcdserverpb__WatchResponse>) throws(NeedletailError) in
            let changes = try messages(message.pointee.events, message.pointee.n_events) { event throws(NeedletailError) -> MetadataChange in
                guard let pair = event.pointee.kv else { throw NeedletailError(.invalidArgument, "an event has no key") }
                return MetadataChange(
                    key: key(pair.pointee.key, prefixBytes),
                    value: event.pointee.type == MVCCPB__EVENT__EVENT_TYPE__DELETE ? nil : byteArray(pair.pointee.value),
                    revision: UInt64(clamping: pair.pointee.mod_revision))
            }
            return Watched(
                revision: revision(message.pointee.header), isFirst: message.pointee.created != 0, isCancelled: message.pointee.canceled != 0,
                reason: string(message.pointee.cancel_reason), compactRevision: message.pointee.compact_revision, changes: changes)
        }
    }

    static func grantedLease(_ answer: ByteBuffer) throws -> MetadataLease {
        try read(answer) { (message: UnsafePointer<Etcdserverpb__LeaseGrantResponse>) throws(NeedletailError) in
            let error = string(message.pointee.error)
            guard error.isEmpty else { throw NeedletailError(.unavailable, "etcd grants no lease: \(error)") }
            return MetadataLease(id: message.pointee.id, length: .seconds(message.pointee.ttl))
        }
    }

    /// The seconds that a lease which was kept alive has left; 0: it is over.
    static func keptLease(_ answer: ByteBuffer) throws -> Int64 {
        try read(answer) { (message: UnsafePointer<Etcdserverpb__LeaseKeepAliveResponse>) in message.pointee.ttl }
    }

    static func token(_ answer: ByteBuffer) throws -> String {
        try read(answer) { (message: UnsafePointer<Etcdserverpb__AuthenticateResponse>) in string(message.pointee.token) }
    }

    private static func read<Message: WireMessage, Value>(
        _ answer: ByteBuffer, _ body: (UnsafePointer<Message>) throws(NeedletailError) -> Value
    ) throws -> Value {
        do { return try WireCoding.unpack(answer, body) } catch let error as NeedletailError where error.code == .invalidArgument {
            throw NeedletailError(.unknown, "etcd's answer cannot be read; check that it is etcd 3.4 or newer. \(error.message)", cause: error)
        }
    }

    private static func key(_ bytes: ProtobufCBinaryData, _ prefixBytes: Int) -> String {
        String(decoding: byteArray(bytes).dropFirst(prefixBytes), as: UTF8.self)
    }

    private static func revision(_ header: UnsafeMutablePointer<Etcdserverpb__ResponseHeader>?) -> UInt64 {
        UInt64(clamping: header?.pointee.revision ?? 0)
    }
}
