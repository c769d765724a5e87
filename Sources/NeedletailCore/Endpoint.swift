/// host:port as text.
public enum Endpoint {
    /// - Parameter defaultPort: taken when the text names a host alone; nil demands a port.
    /// - Throws: `invalidArgument` when the text is not of the form host:port or [ipv6]:port.
    public static func parse(_ text: String, defaultPort: Int? = nil) throws(NeedletailError) -> (host: String, port: Int) {
        let wrong = NeedletailError(.invalidArgument, "\"\(text)\" is no address; write host:port, for example 127.0.0.1:7460")
        var host = text[...]
        var port = defaultPort
        let isBracketed = text.hasPrefix("[")
        if let colon = text.lastIndex(of: ":"), !isBracketed || text[..<colon].hasSuffix("]") {
            port = Int(text[text.index(after: colon)...])
            guard port != nil else { throw wrong }
            host = text[..<colon]
        }
        if isBracketed {
            guard host.hasSuffix("]") else { throw wrong }
            host = host.dropFirst().dropLast()
        }
        guard let port, (0...65_535).contains(port), !host.isEmpty, isBracketed || !host.contains(":") else { throw wrong }
        return (String(host), port)
    }
}

/// The port for HTTP probes as a flag gives it.
public enum AdminPort {
    /// - Returns: nil for "off".
    /// - Throws: `invalidArgument` for anything but a port or "off".
    public static func parse(_ text: String) throws(NeedletailError) -> Int? {
        if text == "off" { return nil }
        guard let port = Int(text), (0...65_535).contains(port) else {
            throw NeedletailError(.invalidArgument, "\"\(text)\" is no port; write a number from 0 to 65535, or off")
        }
        return port
    }
}
