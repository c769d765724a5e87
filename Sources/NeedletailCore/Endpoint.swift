/// host:port as text.
public enum Endpoint {
    /// - Throws: `invalidArgument` when the text is not of the form host:port or [ipv6]:port.
    public static func parse(_ text: String) throws(NeedletailError) -> (host: String, port: Int) {
        guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]), (0...65_535).contains(port) else {
            throw NeedletailError(.invalidArgument, "\"\(text)\" is no address; write host:port, for example 127.0.0.1:7460")
        }
        var host = String(text[..<colon])
        if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        guard !host.isEmpty else {
            throw NeedletailError(.invalidArgument, "\"\(text)\" names no host; write host:port, for example 127.0.0.1:7460")
        }
        return (host, port)
    }
}
