import Glibc
import NIOCore
import NIOPosix
import NIOSSL

/// What failed sockets mean, in words for the person who started the program.
package enum TransportFailure {
    /// A clause without a full stop. The library's own words for an error name its types and are of no use to a reader; an error that
    /// is none of the usual ones is left to the cause.
    package static func words(_ error: any Error) -> String {
        switch error {
        case let error as NIOConnectionError:
            // A name that stands for several addresses: what one of them says is enough, and a name without any has no attempt.
            error.connectionErrors.last.map { words($0.error) } ?? "the host name \"\(error.host)\" is not known"
        case let error as IOError: words(errno: error.errnoCode)
        case ChannelError.connectTimeout: "there was no answer in time"
        case NIOSSLError.uncleanShutdown: "the other side closed it"
        case is NIOSSLError, is BoringSSLError, is NIOSSLExtraError: "the two sides do not agree about TLS"
        default: "the network failed"
        }
    }

    private static func words(errno: CInt) -> String {
        switch errno {
        case ECONNREFUSED: "nothing listens there"
        case ECONNRESET, EPIPE, ECONNABORTED: "the other side closed it"
        case ETIMEDOUT: "there was no answer in time"
        case EHOSTUNREACH, ENETUNREACH, EHOSTDOWN, ENETDOWN: "there is no way to that host"
        case EMFILE, ENFILE, ENOBUFS, ENOMEM: "the process is out of file descriptors or memory"
        case EACCES, EPERM: "the system does not allow it"
        default: "the network failed"
        }
    }
}
