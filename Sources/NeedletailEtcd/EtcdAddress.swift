public import NeedletailCore

/// Where an etcd cluster is and which of its keys are ours: `etcd://[user@]host:port[,host:port…][/prefix]`.
public struct EtcdAddress: Sendable, Equatable {
    /// The members asked, in turn when one fails.
    public var endpoints: [(host: String, port: Int)]
    /// Whom etcd is told that we are; nil: nobody.
    public var user: String?
    public var password = ""
    /// Our keys begin with it. Clusters with different ones can share an etcd.
    public var prefix = "needletail/"

    public init(endpoints: [(host: String, port: Int)]) { self.endpoints = endpoints }

    /// - Throws: `invalidArgument` saying what is wrong. A password has no place in the text, which other users of a machine can read.
    public init(_ text: String) throws(NeedletailError) {
        let scheme = "etcd://"
        guard text.hasPrefix(scheme) else { throw Self.wrong(text) }
        var rest = text.dropFirst(scheme.count)
        if let at = rest.firstIndex(of: "@") {
            user = String(rest[..<at])
            rest = rest[rest.index(after: at)...]
            guard user != "", user?.contains(":") == false else {
                throw NeedletailError(
                    .invalidArgument, "an etcd address names a user before \"@\" and no password; give that in a file or the environment")
            }
        }
        if let slash = rest.firstIndex(of: "/") {
            let path = rest[rest.index(after: slash)...]
            if !path.isEmpty { prefix = path.hasSuffix("/") ? String(path) : path + "/" }
            rest = rest[..<slash]
        }
        endpoints = []
        for part in rest.split(separator: ",", omittingEmptySubsequences: false) {
            do { endpoints.append(try Endpoint.parse(String(part), defaultPort: 2379)) } catch { throw Self.wrong(text) }
        }
    }

    public static func == (left: EtcdAddress, right: EtcdAddress) -> Bool {
        left.endpoints.elementsEqual(right.endpoints, by: ==) && left.user == right.user && left.password == right.password
            && left.prefix == right.prefix
    }

    private static func wrong(_ text: String) -> NeedletailError {
        NeedletailError(
            .invalidArgument, "\"\(text)\" is no address of etcd; write etcd://[user@]host:port[,host:port][/prefix], for example etcd://10.0.0.1:2379")
    }
}
