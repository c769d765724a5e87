public import Logging
public import NeedletailCore
internal import Synchronization

/// Sets up logging once for a process: on standard error, a line an event.
public enum Logs {
    public enum Format: String, CaseIterable, Sendable {
        case text, json
    }

    /// - Throws: `invalidArgument` for a level that is none.
    public static func check(_ level: String) throws(NeedletailError) {
        guard Logger.Level(rawValue: level) == nil else { return }
        let levels = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
        throw NeedletailError(.invalidArgument, "--log-level must be one of \(levels), not \(level)")
    }

    /// - Throws: `invalidArgument` for a format that is none.
    public static func format(_ name: String) throws(NeedletailError) -> Format {
        guard let format = Format(rawValue: name) else {
            throw NeedletailError(.invalidArgument, "--log-format must be \(Format.allCases.map(\.rawValue).joined(separator: " or ")), not \(name)")
        }
        return format
    }

    /// Lines that are written for a request name it.
    /// - Parameter level: trace, debug, info, notice, warning, error or critical; anything else means info.
    public static func start(label: String, level: String, format: Format = .text) -> Logger {
        let provider = Logger.MetadataProvider { RequestScope.current?.logMetadata ?? [:] }
        Logs.level.withLock { $0 = Logger.Level(rawValue: level) ?? .info }
        LoggingSystem.bootstrap(
            { label, provider in
                switch format {
                case .text: LeveledLogHandler(StreamLogHandler.standardError(label: label, metadataProvider: provider))
                case .json: LeveledLogHandler(JSONLogHandler(label: label, metadataProvider: provider))
                }
            }, metadataProvider: provider)
        return Logger(label: label)
    }

    /// From now on, for all loggers that have no level of their own.
    /// - Throws: `invalidArgument` for a level that is none.
    public static func setLevel(_ name: String) throws(NeedletailError) {
        try check(name)
        level.withLock { $0 = Logger.Level(rawValue: name) ?? $0 }
    }

    fileprivate static let level = Mutex(Logger.Level.info)
}

extension RequestScope {
    /// By what lines of the log name the request.
    public var logMetadata: Logger.Metadata {
        var metadata: Logger.Metadata = ["request_id": "\(requestID)"]
        if let trace = traceContext {
            metadata["trace_id"] = "\(trace.traceID)"
            if let span { metadata["span_id"] = "\(Hexadecimal.text(span.context.spanID))" }
        }
        return metadata
    }
}

/// A handler whose level is the process's, unless somebody gave the logger one of its own.
private struct LeveledLogHandler<Base: LogHandler>: LogHandler {
    private var base: Base
    private var own: Logger.Level?

    init(_ base: Base) {
        self.base = base
        // What comes through has been let through by the level here.
        self.base.logLevel = .trace
    }

    var logLevel: Logger.Level {
        get { own ?? Logs.level.withLock { $0 } }
        set { own = newValue }
    }

    var metadata: Logger.Metadata {
        get { base.metadata }
        set { base.metadata = newValue }
    }

    var metadataProvider: Logger.MetadataProvider? {
        get { base.metadataProvider }
        set { base.metadataProvider = newValue }
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { base[metadataKey: key] }
        set { base[metadataKey: key] = newValue }
    }

    func log(event: LogEvent) { base.log(event: event) }
}
