import ArgumentParser
import Foundation
import NeedletailCore

/// What load is sent with.
struct KeyOptions: ParsableArguments {
    @Option(help: ArgumentHelp("File with the API key or token to send; the one in NEEDLETAIL_API_KEY when left out.", valueName: "file"))
    var apiKeyFile: String?

    /// Clients read the key from this process's environment, in whatever part of it they are made.
    func apply() throws(NeedletailError) {
        guard let apiKeyFile else { return }
        guard let text = try? String(contentsOfFile: apiKeyFile, encoding: .utf8) else {
            throw NeedletailError(.invalidArgument, "the file with the API key cannot be read: \(apiKeyFile)")
        }
        setenv("NEEDLETAIL_API_KEY", text.trimmingCharacters(in: .whitespacesAndNewlines), 1)
    }
}
