public import NeedletailGRPC
internal import Foundation

extension GRPCClientConfiguration {
    /// Sends the key in a file, or else the one in the environment (NEEDLETAIL_API_KEY), along with every call; none when there is neither. There is no
    /// way to give a key as it is: the arguments of a process are for everybody to read.
    /// - Parameter environment: that of this process when nil.
    /// - Throws: `invalidArgument` for a file that cannot be read, or has no key.
    public mutating func authorize(keyFile: String? = nil, environment: [String: String]? = nil) throws(NeedletailError) {
        var key = (environment ?? ProcessInfo.processInfo.environment)["NEEDLETAIL_API_KEY"] ?? ""
        if let keyFile {
            guard let text = try? String(contentsOfFile: keyFile, encoding: .utf8) else {
                throw NeedletailError(.invalidArgument, "the file with the API key cannot be read: \(keyFile)")
            }
            key = text
        }
        key = key.trimmingCharacters(in: .whitespacesAndNewlines)
        if key.isEmpty, keyFile == nil { return }
        guard !key.isEmpty, key.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else {
            throw NeedletailError(.invalidArgument, "\(keyFile ?? "NEEDLETAIL_API_KEY") is to have a key or token, one word of printable characters")
        }
        authorization = "Bearer \(key)"
    }
}
