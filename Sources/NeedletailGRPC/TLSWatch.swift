import CoreMetrics
import Dispatch
import Glibc
public import Logging
import NeedletailCore
public import NeedletailHTTP2
public import NeedletailTelemetry

/// Keeps the certificates of a process up to date: reads files again that have changed, at once upon SIGHUP, and tells when they expire.
public struct TLSWatch: Sendable {
    /// How often the files are looked at.
    private static let interval = Duration.seconds(2)
    /// Of notice before a certificate expires.
    private static let notice = 14 * 86_400.0
    private static let day = 86_400.0

    private let credentials: [TLSCredentials]
    private let logger: Logger
    private let loaded: Counter
    private let failed: Counter

    /// - Parameter credentials: none is well, too: then SIGHUP does nothing, and does not end the process.
    public init(_ credentials: [TLSCredentials], metrics registry: MetricsRegistry, logger: Logger) {
        self.credentials = credentials
        self.logger = logger
        loaded = registry.counter(.tlsReloads, ["loaded"])
        failed = registry.counter(.tlsReloads, ["failed"])
        registry.onCollect { report in
            for one in credentials { for file in one.expiries { report.add(.tlsExpiry, [file.label], file.moment) } }
        }
    }

    /// Until cancelled.
    public func run() async {
        let (events, continuation) = AsyncStream.makeStream(of: Bool.self, bufferingPolicy: .bufferingNewest(4))
        let hangUps = Self.hangUps { continuation.yield(true) }
        defer { hangUps.cancel() }
        var watches = credentials.map { $0.watch() }
        for one in credentials { tell("certificates are in use", one) }
        var warned = warnOfExpiry()
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                while !Task.isCancelled {
                    try? await Task.sleep(for: Self.interval)
                    continuation.yield(false)
                }
                continuation.finish()
            }
            for await isAsked in events {
                var isNew = false
                for (number, one) in credentials.enumerated() where watches[number].hasChanged() || isAsked {
                    await reload(one)
                    isNew = true
                }
                if isNew || Self.now() - warned > Self.day { warned = warnOfExpiry() }
            }
        }
    }

    private func reload(_ credentials: TLSCredentials) async {
        do {
            try await credentials.reload()
            loaded.increment()
            tell("certificates were read again; new connections use them", credentials)
        } catch {
            failed.increment()
            logger.error("new certificates are no good, those of before stay in use: \(error.message)")
        }
    }

    private func tell(_ what: String, _ credentials: TLSCredentials) {
        logger.notice("\(what)", metadata: Dictionary(uniqueKeysWithValues: credentials.expiries.map { ($0.label, "until \($0.day)") }))
    }

    /// - Returns: when it was.
    private func warnOfExpiry() -> Double {
        let now = Self.now()
        for file in credentials.flatMap(\.expiries) where file.moment - now < Self.notice {
            let days = Int((file.moment - now) / Self.day)
            if file.moment < now {
                logger.error("a certificate in the file of \(file.flag) has expired: connections are refused. Renew it; the process will read the new one")
            } else {
                logger.warning("a certificate in the file of \(file.flag) expires in \(days) days. Renew it; the process will read the new one")
            }
        }
        return now
    }

    private static func now() -> Double { Double(WallClock.microseconds()) / 1e6 }

    private static func hangUps(_ body: @escaping @Sendable () -> Void) -> any DispatchSourceSignal {
        let source = DispatchSource.makeSignalSource(signal: SIGHUP)
        source.setEventHandler(handler: body)
        source.resume()
        return source
    }
}
