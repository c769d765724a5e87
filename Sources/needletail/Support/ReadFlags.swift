import ArgumentParser
import NeedletailClient

/// Which replicas answer. People who look want to see what they have written, so it is the primaries unless they say otherwise.
struct ReadFlags: ParsableArguments {
    @Flag(help: "Ask whichever replica is expected to be quickest: it may lack the last moments' writes. Else the primaries answer.")
    var anyReplica = false

    var read: ReadOptions { anyReplica ? ReadOptions() : .everything }

    /// Runs what reads so; when primaries do not answer, the error says what else could be done.
    func reading<Value>(_ body: () async throws -> Value) async throws -> Value {
        do { return try await body() } catch var error as NeedletailError {
            if !anyReplica, [.unavailable, .aborted, .deadlineExceeded].contains(error.code) {
                error.message += "; with --any-replica other replicas than the primaries may answer"
            }
            throw error
        }
    }
}

extension ReadOptions {
    /// With every acknowledged write.
    static let everything = ReadOptions(consistency: .primary)
}
