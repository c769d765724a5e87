public import Logging
public import NeedletailCore

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
        LoggingSystem.bootstrap(
            { label, provider in
                switch format {
                case .text: StreamLogHandler.standardError(label: label, metadataProvider: provider)
                case .json: JSONLogHandler(label: label, metadataProvider: provider)
                }
            }, metadataProvider: provider)
        var logger = Logger(label: label)
        logger.logLevel = Logger.Level(rawValue: level) ?? .info
        return logger
    }
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
