import CNeedletailMessages
import CProtobufC
public import NeedletailCore

extension InternalMessages {
    public static let copyDescription = MessageCodec<CopyDescription>(
        write: { copy, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__CopyDescription.self)
            message.pointee.id = copy.id
            message.pointee.sequence = copy.sequence
            message.pointee.epoch = copy.epoch
            message.pointee.n_files = copy.files.count
            message.pointee.files = try arena.list(copy.files) { file throws(NeedletailError) in
                let part = try arena.make(Needletail__Internal__V1__CopiedFile.self)
                part.pointee.name = try arena.text(file.name)
                part.pointee.size_bytes = file.sizeBytes
                return part
            }
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__CopyDescription>) throws(NeedletailError) in
            let copy = message.pointee
            return CopyDescription(
                id: copy.id, sequence: copy.sequence, epoch: copy.epoch,
                files: try messages(copy.files, copy.n_files) { CopiedFile(name: string($0.pointee.name), sizeBytes: $0.pointee.size_bytes) })
        })

    public static let readCopy = MessageCodec<(id: UInt64, name: String, offset: UInt64)>(
        write: { request, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__ReadCopyRequest.self)
            message.pointee.id = request.id
            message.pointee.name = try arena.text(request.name)
            message.pointee.offset = request.offset
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__ReadCopyRequest>) in
            (id: message.pointee.id, name: string(message.pointee.name), offset: message.pointee.offset)
        })

    public static let copyPiece = MessageCodec<CopyPiece>(
        expectedBytes: { piece in piece.bytes.count + 128 },
        write: { piece, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__CopyPiece.self)
            message.pointee.offset = piece.offset
            message.pointee.data = try arena.bytes(piece.bytes)
            message.pointee.checksum = piece.checksum
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__CopyPiece>) in
            CopyPiece(offset: message.pointee.offset, bytes: byteArray(message.pointee.data), checksum: message.pointee.checksum)
        })

    public static let endCopy = MessageCodec<UInt64>(
        write: { id, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__EndCopyRequest.self)
            message.pointee.id = id
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__EndCopyRequest>) in message.pointee.id })

    public static let digestRequest = MessageCodec<(shard: ShardID, mark: UInt64, scope: ReplicaDigest.Scope)>(
        write: { request, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__DigestRequest.self)
            message.pointee.shard = try arena.shardID(request.shard)
            message.pointee.mark = request.mark
            switch request.scope {
            case .contents: break
            case .answers(let queries): (message.pointee.queries, message.pointee.answers_only) = (UInt32(clamping: queries), 1)
            case .recall(let queries): message.pointee.queries = UInt32(clamping: queries)
            }
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__DigestRequest>) throws(NeedletailError) in
            let request = message.pointee
            let queries = min(Int(request.queries), 1_000)
            let scope: ReplicaDigest.Scope = queries == 0 ? .contents : request.answers_only != 0 ? .answers(queries) : .recall(queries)
            return (shard: try ShardID(request.shard), mark: request.mark, scope: scope)
        })

    public static let digest = MessageCodec<ReplicaDigest>(
        write: { digest, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__DigestReply.self)
            let sums = try arena.array(digest.sums.count, of: UInt64.self)
            for (index, sum) in digest.sums.enumerated() { sums[index] = sum }
            (message.pointee.n_sums, message.pointee.sums) = (digest.sums.count, sums)
            (message.pointee.recall, message.pointee.answers) = (digest.recall, digest.answers)
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__DigestReply>) in
            let digest = message.pointee
            return ReplicaDigest(sums: (0..<digest.n_sums).map { digest.sums[$0] }, recall: digest.recall, answers: digest.answers)
        })
}
