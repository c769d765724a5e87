internal import NeedletailAdmin
internal import NIOCore

/// The web page that shows a cluster: files beside this one, built into the program.
enum Console {
    static let pages: [String: AdminPage] = [
        "/": page("text/html; charset=utf-8", PackageResources.index_html),
        "/console.css": page("text/css; charset=utf-8", PackageResources.console_css),
        "/console.js": page(script, PackageResources.console_js),
        "/api.js": page(script, PackageResources.api_js),
        "/dom.js": page(script, PackageResources.dom_js),
        "/projection.js": page(script, PackageResources.projection_js),
    ]

    private static let script = "text/javascript; charset=utf-8"

    private static func page(_ type: String, _ bytes: [UInt8]) -> AdminPage { AdminPage(contentType: type, content: ByteBuffer(bytes: bytes)) }
}
