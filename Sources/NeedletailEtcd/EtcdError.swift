import NeedletailCore
import NeedletailGRPC
import NeedletailMetadata

/// What an error of a call to etcd means for us. etcd says most by its texts (its `api/v3rpc/rpctypes/error.go`).
enum EtcdVerdict {
    /// The member was not reached or could not take the call: nothing was done. Another one may be asked.
    case notDone(NeedletailError)
    /// No answer came; whether the call was worked on is not known.
    case unanswered(NeedletailError)
    /// The token is no longer good: authenticate again. Nothing was done.
    case tokenRefused(NeedletailError)
    case final(NeedletailError)

    init(_ error: any Error) {
        guard let error = error as? NeedletailError else {
            self = .final(error is CancellationError ? NeedletailError(.cancelled, "the request was cancelled") : NeedletailError(.unknown, "\(error)"))
            return
        }
        if error.cause is CallNotSent {
            self = .notDone(error)
            return
        }
        let text = error.message
        switch error.code {
        // A member that has lost its leader says so before it looks at the call.
        case .unavailable where text.contains("etcdserver: no leader"): self = .notDone(error)
        case .unavailable, .deadlineExceeded, .internal, .unknown: self = .unanswered(error)
        case .cancelled where !Task.isCancelled: self = .unanswered(error)
        case .unauthenticated: self = .tokenRefused(error)
        case .invalidArgument where text.contains("revision of auth store is old"): self = .tokenRefused(error)
        case .invalidArgument where text.contains("user name is empty"):
            self = .final(NeedletailError(.unauthenticated, "etcd asks who we are: name a user, etcd://user@host:port, and give its password", cause: error))
        case .invalidArgument where text.contains("authentication failed"):
            self = .final(NeedletailError(.permissionDenied, "etcd refuses the user or the password; correct them", cause: error))
        case .permissionDenied:
            self = .final(
                NeedletailError(.permissionDenied, "the etcd user may not use our keys; grant it reading and writing of the prefix", cause: error))
        case .invalidArgument where text.contains("request is too large"), .resourceExhausted where text.contains("larger than max"):
            self = .final(
                NeedletailError(.resourceExhausted, "etcd takes no change of this size; start it with --max-request-bytes 33554432", cause: error))
        case .resourceExhausted where text.contains("space exceeded"):
            self = .final(
                NeedletailError(
                    .resourceExhausted, "etcd is full; compact and defragment it, or raise its quota, and disarm its alarm", cause: error))
        case .notFound where text.contains("lease not found"): self = .final(.leaseIsOver)
        case .failedPrecondition where text.contains("authentication is not enabled"):
            self = .final(NeedletailError(.failedPrecondition, "etcd knows no users; leave out the user, or enable authentication in etcd", cause: error))
        default: self = .final(error)
        }
    }
}
