public import Logging
public import NeedletailCore

/// Sets up logging once for a process: text on standard error.
public enum Logs {
    /// - Throws: `invalidArgument` for a level that is none.
    public static func check(_ level: String) throws(NeedletailError) {
        guard Logger.Level(rawValue: level) == nil else { return }
        let levels = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
        throw NeedletailError(.invalidArgument, "--log-level must be one of \(levels), not \(level)")
    }

    /// - Parameter level: trace, debug, info, notice, warning, error or critical; anything else means info.
    public static func start(label: String, level: String) -> Logger {
        LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
        var logger = Logger(label: label)
        logger.logLevel = Logger.Level(rawValue: level) ?? .info
        return logger
    }
}
