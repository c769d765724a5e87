import NIOSSL

/// What went wrong with TLS, in words for the person who set it up.
enum TLSFailure {
    /// - Returns: a clause about the peer without a full stop; nil when the error is none of TLS.
    static func words(_ error: any Error, isServer: Bool) -> String? {
        switch error {
        case NIOSSLError.uncleanShutdown: return nil  // The peer is gone, as connections without TLS end, too.
        case is NIOSSLError, is BoringSSLError, is NIOSSLExtraError: break
        default: return nil
        }
        let text = "\(error)"
        return causes.first { cause in cause.signs.contains { text.contains($0) } }.map { isServer ? $0.ofClient : $0.ofServer }
            ?? "the two sides do not agree about TLS (\(reason(text)))"
    }

    private static let causes: [(signs: [String], ofServer: String, ofClient: String)] = [
        (
            ["WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST"],
            "what answers there does not speak TLS; without TLS its address is written http://", "it does not speak TLS, and this port takes nothing else"
        ),
        (
            ["PEER_DID_NOT_RETURN_A_CERTIFICATE"], "it showed no certificate",
            "it showed no certificate, and this port is for processes of the cluster only"
        ),
        (
            ["ALERT_CERTIFICATE_REQUIRED"], "it wants a certificate: give one with --tls-certificate and --tls-key", "it wants a certificate"
        ),
        (
            ["ALERT_UNKNOWN_CA", "ALERT_BAD_CERTIFICATE", "ALERT_CERTIFICATE_EXPIRED", "ALERT_CERTIFICATE_UNKNOWN", "ALERT_UNSUPPORTED_CERTIFICATE"],
            "it does not accept our certificate, and its log says why", "it does not accept our certificate, and says or logs why"
        ),
        (
            ["UNSUPPORTED_PROTOCOL", "ALERT_PROTOCOL_VERSION", "UNKNOWN_PROTOCOL", "NO_SUPPORTED_VERSIONS_ENABLED"],
            "it has neither TLS 1.2 nor 1.3", "it has neither TLS 1.2 nor 1.3"
        ),
        (
            ["NO_SHARED_CIPHER", "WRONG_CIPHER_RETURNED"], "it has no cipher suite that is strong enough (forward secrecy, authenticated encryption)",
            "it has no cipher suite that is strong enough (forward secrecy, authenticated encryption)"
        ),
        (
            ["ALERT_HANDSHAKE_FAILURE"], "it found no version of TLS, cipher suite or certificate to agree on; its log says more",
            "it found no version of TLS, cipher suite or certificate to agree on"
        ),
        (
            ["EOF during handshake", "eofDuringHandshake"], "it ended the connection in the middle of the TLS handshake; its log says why",
            "it ended the connection in the middle of the TLS handshake"
        ),
    ]

    /// BoringSSL's own name for it: SOME_REASON.
    private static func reason(_ text: String) -> String {
        text.split { !($0.isASCII && ($0.isUppercase || $0 == "_" || $0.isNumber)) }.filter { $0.contains("_") }.map(String.init).first ?? "no reason given"
    }
}
