internal import Foundation
internal import Logging
internal import NeedletailCore
internal import Synchronization

/// Writes each event as one JSON object on one line of standard error: `time`, `level`, `logger`, `message`, and beside them what the event is
/// described by, nested where that is.
struct JSONLogHandler: LogHandler {
    var logLevel = Logger.Level.info
    var metadata: Logger.Metadata = [:]
    var metadataProvider: Logger.MetadataProvider?
    private let label: String

    init(label: String, metadataProvider: Logger.MetadataProvider?) {
        self.label = label
        self.metadataProvider = metadataProvider
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let line = line(event.level, event.message, event.metadata, microseconds: WallClock.microseconds())
        // A long line may take several writes.
        Self.writing.withLock { _ in StandardStreams.say(line) }
    }

    private static let writing = Mutex(())
    private static let reserved: Set<String> = ["time", "level", "logger", "message"]

    func line(_ level: Logger.Level, _ message: Logger.Message, _ explicit: Logger.Metadata?, microseconds: Int64) -> String {
        var fields = metadata
        if let provided = metadataProvider?.get() { fields.merge(provided) { $1 } }
        if let explicit { fields.merge(explicit) { $1 } }
        var text = "{\"time\":\"\(WallClock.text(microseconds))\",\"level\":\"\(level.rawValue)\",\"logger\":"
        JSONText.append(label, to: &text)
        text += ",\"message\":"
        JSONText.append(message.description, to: &text)
        for (key, value) in fields.sorted(by: { $0.key < $1.key }) {
            text += ","
            JSONText.append(Self.reserved.contains(key) ? "\(key)_" : key, to: &text)
            text += ":"
            Self.append(value, to: &text)
        }
        return text + "}\n"
    }

    private static func append(_ value: Logger.MetadataValue, to text: inout String) {
        switch value {
        case .string(let string): JSONText.append(string, to: &text)
        case .stringConvertible(let number as any BinaryInteger): text += "\(number)"
        case .stringConvertible(let number as Double) where number.isFinite: text += "\(number)"
        case .stringConvertible(let flag as Bool): text += "\(flag)"
        case .stringConvertible(let other): JSONText.append(other.description, to: &text)
        case .array(let elements):
            text += "["
            for (index, element) in elements.enumerated() {
                if index > 0 { text += "," }
                append(element, to: &text)
            }
            text += "]"
        case .dictionary(let entries):
            text += "{"
            for (index, entry) in entries.sorted(by: { $0.key < $1.key }).enumerated() {
                if index > 0 { text += "," }
                JSONText.append(entry.key, to: &text)
                text += ":"
                append(entry.value, to: &text)
            }
            text += "}"
        }
    }

}

extension WallClock {
    /// RFC 3339, in UTC: 2026-11-22T01:02:03.456789Z.
    public static func text(_ microseconds: Int64) -> String {
        let seconds = Date(timeIntervalSince1970: Double(microseconds / 1_000_000))
        let fraction = String(1_000_000 + microseconds % 1_000_000).dropFirst()
        return seconds.formatted(.iso8601.dateSeparator(.dash).dateTimeSeparator(.standard).timeSeparator(.colon)).dropLast() + ".\(fraction)Z"
    }
}
