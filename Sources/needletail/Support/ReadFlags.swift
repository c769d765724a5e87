import ArgumentParser
import NeedletailClient

/// Which replicas answer. People who look want to see what they have written, so it is the primaries unless they say otherwise.
struct ReadFlags: ParsableArguments {
    @Flag(help: "Ask whichever replica is expected to be quickest: it may lack the last moments' writes. Else the primaries answer.")
    var anyReplica = false

    var read: ReadOptions { anyReplica ? ReadOptions() : .everything }
}

extension ReadOptions {
    /// With every acknowledged write.
    static let everything = ReadOptions(consistency: .primary)
}
