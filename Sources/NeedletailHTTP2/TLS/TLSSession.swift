public import NIOCore
import NIOSSL
public import NeedletailCore
import SwiftASN1
import Synchronization
import X509

/// What TLS found out about the peer of one connection.
public final class TLSSession: @unchecked Sendable {  // the event loop guards `handler`, which is set once
    /// Why the peer's certificate was refused here: a clause without a full stop.
    struct Refusal: Error {
        var words: String
    }

    private let loaded: TLSCredentials.Loaded
    private let verdict = Mutex<Result<PeerIdentity, Refusal>?>(nil)
    var handler: NIOSSLHandler?

    init(_ loaded: TLSCredentials.Loaded) { self.loaded = loaded }

    /// nil unless it was.
    public var refusal: String? { verdict.withLock { if case .failure(let refusal) = $0 { refusal.words } else { nil } } }

    /// What went wrong with TLS at a port: a clause about the client without a full stop; nil when the error is none of TLS.
    public func words(for error: any Error) -> String? { refusal ?? TLSFailure.words(error, isServer: true) }

    /// Answers a client that speaks HTTP without TLS, in its own language; for a port of HTTP/1.1, when its handshake has failed.
    public func answerUnencrypted(_ error: any Error, in pipeline: ChannelPipeline) {
        guard "\(error)".contains("HTTP_REQUEST"), let handler, let context = try? pipeline.syncOperations.context(handler: handler) else { return }
        let words = "This port speaks TLS: write https://.\n"
        let answer = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: \(words.utf8.count)\r\nconnection: close\r\n\r\n\(words)"
        context.writeAndFlush(NIOAny(ByteBuffer(string: answer)), promise: nil)
    }

    /// Who the peer is, once the handshake is over. On the event loop.
    public var peer: PeerIdentity {
        switch verdict.withLock({ $0 }) {
        case .success(let identity): return identity
        case .failure: return .anonymous
        case nil:
            // No certificate, or a session that goes on: then it is one that was judged when the session began.
            guard let certificate = handler?.peerCertificate, let bytes = try? certificate.toDERBytes() else { return .anonymous }
            return loaded.judged.withLock { $0[bytes] } ?? .anonymous
        }
    }

    /// For NIOSSL to ask.
    func judge(
        _ body: @escaping @Sendable ([Certificate]) async -> Result<PeerIdentity, Refusal>
    ) -> NIOSSLCustomVerificationCallbackWithMetadata {
        { certificates, promise in
            promise.completeWithTask {
                let result: Result<PeerIdentity, Refusal>
                do {
                    result = await body(try certificates.map { try Certificate($0) })
                } catch {
                    result = .failure(Refusal(words: "its certificate cannot be understood"))
                }
                self.verdict.withLock { $0 = result }
                guard case .success = result else { return .failed }
                return .certificateVerified(VerificationMetadata(nil))
            }
        }
    }
}

extension Certificate {
    /// As it is encoded.
    var bytes: [UInt8] {
        get throws {
            var serializer = DER.Serializer()
            try serializer.serialize(self)
            return serializer.serializedBytes
        }
    }
}
