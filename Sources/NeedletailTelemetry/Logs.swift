public import Logging

/// Sets up logging once for a process: text on standard error.
public enum Logs {
    /// - Parameter level: trace, debug, info, notice, warning, error or critical; anything else means info.
    public static func start(label: String, level: String) -> Logger {
        LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
        var logger = Logger(label: label)
        logger.logLevel = Logger.Level(rawValue: level) ?? .info
        return logger
    }
}
