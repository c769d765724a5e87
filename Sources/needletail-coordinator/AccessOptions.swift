import ArgumentParser
import Foundation
import NeedletailCore
import NeedletailSecurity

/// Who may do what (Docs/access.md). Callers are asked for keys as soon as there is an administrator's key, or a way to check tokens.
struct AccessOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "File with the administrator's key; NEEDLETAIL_ADMIN_KEY when left out. With one, every caller is asked for a key.", valueName: "file"))
    var adminKeyFile: String?
    @Option(help: ArgumentHelp("File with the secret of tokens (JWT) signed with HS256; NEEDLETAIL_JWT_SECRET when left out.", valueName: "file"))
    var jwtSecretFile: String?
    @Option(help: ArgumentHelp("File with a JSON web key set, for tokens signed with RS256 or ES256; read again when it changes.", valueName: "file"))
    var jwtKeys: String?
    @Option(help: "What a token's \"iss\" must be.") var jwtIssuer: String?
    @Option(help: "What a token's \"aud\" must have.") var jwtAudience: String?
    @Option(help: "Requests a second, of a caller without a limit of its own.") var limitRate: Double?
    @Option(help: "Bytes of a request, likewise.") var limitBytes: Int?
    @Option(help: "Points, ids or queries of a request, likewise.") var limitBatch: Int?
    @Option(help: "Breadth (ef) of a search, likewise.") var limitEf: Int?
    @Option(help: "Points of an answer to a query, likewise.") var limitResults: Int?
    @Option(help: ArgumentHelp("Append a line about every change and refusal to this file; SIGHUP opens it anew.", valueName: "file"))
    var auditLog: String?
    @Flag(help: "Make collections, keys and the like also while the audit log cannot be written.") var auditMayFail = false
    @Flag(help: "Metrics ask for a key, too (cluster:read).") var guardMetrics = false
    @Option(
        help: ArgumentHelp(
            "Name under which browsers may reach the admin port, or the origin of another page that may; repeat for more. Addresses, localhost and names "
                + "without a dot are known.", valueName: "host or https://host"))
    var adminOrigin: [String] = []

    func configuration() throws -> AccessConfiguration {
        let environment = ProcessInfo.processInfo.environment
        var access = AccessConfiguration()
        access.adminKey = try AccessConfiguration.secret(file: adminKeyFile, variable: "NEEDLETAIL_ADMIN_KEY", environment: environment)
        let secret = try AccessConfiguration.secret(file: jwtSecretFile, variable: "NEEDLETAIL_JWT_SECRET", environment: environment)
        if secret != nil || jwtKeys != nil {
            access.tokens = TokenConfiguration(secret: secret, keySetFile: jwtKeys, issuer: jwtIssuer, audience: jwtAudience)
        } else if jwtIssuer != nil || jwtAudience != nil {
            throw NeedletailError(.invalidArgument, "--jwt-issuer and --jwt-audience go with --jwt-secret-file or --jwt-keys")
        }
        access.defaultLimits = try RequestLimits(
            requestsPerSecond: limitRate, requestBytes: limitBytes, batch: limitBatch, ef: limitEf, limit: limitResults
        ).checked()
        access.audit = try auditLog.map { path throws(NeedletailError) in try AuditLog(path: path) }
        access.goesOnWithoutAudit = auditMayFail
        access.guardsMetrics = guardMetrics
        access.adminOrigins = adminOrigin
        return access
    }
}
