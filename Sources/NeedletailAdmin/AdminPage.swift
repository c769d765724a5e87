public import NIOCore

/// A file that the admin port serves as it is.
public struct AdminPage: Sendable {
    public var contentType: String
    public var content: ByteBuffer

    public init(contentType: String, content: ByteBuffer) {
        self.contentType = contentType
        self.content = content
    }

    /// What a browser may do with pages: nothing but what comes from this port, and nobody may show them inside another page.
    static let policy =
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
        + "frame-ancestors 'none'"
}
