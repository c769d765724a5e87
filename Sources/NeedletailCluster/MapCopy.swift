/// A copy of values that change elsewhere: fed by a watch, and by one's own changes before the watch tells of them. Of two changes of a key
/// the one with the greater revision counts, in whatever order they come.
public struct MapCopy<Value: Sendable>: Sendable {
    public private(set) var values: [String: Value] = [:]
    /// Also of keys removed since the watch stood here.
    private var revisions: [String: UInt64] = [:]
    /// How far the watch is.
    public private(set) var watched: UInt64 = 0

    public init() {}

    /// That of the value under a key; nil when there is none.
    public func revision(_ key: String) -> UInt64? { values[key] == nil ? nil : revisions[key] }

    /// - Parameter value: nil when the key was removed.
    public mutating func change(_ key: String, to value: Value?, revision: UInt64) {
        if let known = revisions[key], known >= revision { return }
        values[key] = value
        revisions[key] = revision
    }

    /// The watch has told everything up to `revision`.
    public mutating func advance(to revision: UInt64) {
        guard revision > watched else { return }
        watched = revision
        // What was removed by then, no older news can bring back.
        revisions = revisions.filter { values[$0.key] != nil || $0.value > revision }
    }

    /// Everything there is, as of `revision`; what was changed here after that stays.
    public mutating func reset(to entries: [(key: String, value: Value, revision: UInt64)], revision: UInt64) {
        let present = Set(entries.map(\.key))
        for (key, known) in revisions where known <= revision && !present.contains(key) {
            values[key] = nil
            revisions[key] = nil
        }
        for entry in entries { change(entry.key, to: entry.value, revision: entry.revision) }
        advance(to: revision)
    }
}
