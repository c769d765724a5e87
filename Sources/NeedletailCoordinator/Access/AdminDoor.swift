internal import NIOCore
internal import NeedletailAdmin
internal import NeedletailCore
internal import NeedletailSecurity

/// Who gets in at the admin port. Browsers carry requests there for pages that have no business with it: through a name that suddenly means this
/// machine (DNS rebinding), or from another site with this port as the target. Both are told by `Host`, `Origin` and `Sec-Fetch-Site`, which no page
/// can forge. There is no CORS: other sites get no answer to read either way.
struct AdminDoor: Sendable {
    private let names: Set<String>
    private let origins: Set<String>
    private let guardsMetrics: Bool
    private let gate: AccessGate?

    /// Asked by machines, which have no key; they say how this process is, and nothing else.
    private static let probes: Set<String> = ["/healthz", "/readyz"]

    /// - Parameter gate: of the API; nil when nobody is asked for anything.
    init(_ configuration: AccessConfiguration, host: String, gate: AccessGate?) {
        let allowed = configuration.adminOrigins.map { $0.lowercased() }
        origins = Set(allowed.filter { $0.contains("://") })
        names = Set(allowed.map { Self.name(ofHost: $0.contains("://") ? String($0.drop { $0 != "/" }.dropFirst(2)) : $0) } + [host.lowercased()])
        guardsMetrics = configuration.guardsMetrics
        self.gate = gate
    }

    /// nil: come in.
    func refusal(_ request: AdminRequest) async -> AdminAnswer? {
        if Self.probes.contains(request.path) { return nil }
        do throws(NeedletailError) {
            if request.path == "/metrics" {
                // Prometheus may know this port by any name.
                try await checkMetrics(request)
            } else {
                try checkHost(request)
                try checkOrigin(request)
                // The gate asks again when there is a call; here it is for the body, which whoever has no key does not get to send.
                if request.method == "POST" { _ = try await caller(request) }
            }
            return nil
        } catch {
            return AdminAnswer(
                status: error.code.connectStatus, headers: [("content-type", "application/json")], body: .whole(ByteBuffer(string: error.connectJSON)))
        }
    }

    private func checkMetrics(_ request: AdminRequest) async throws(NeedletailError) {
        guard guardsMetrics, let principal = try await caller(request) else { return }
        guard principal.info.hasOnCluster(.read), principal.info.filter == nil else {
            throw noted(
                NeedletailError(.permissionDenied, "metrics ask for \"cluster:read\", which \"\(principal.info.name)\" was not granted"), principal, request)
        }
    }

    /// nil when nobody is asked for anything.
    private func caller(_ request: AdminRequest) async throws(NeedletailError) -> Principal? {
        do throws(NeedletailError) { return try await gate?.authenticator.authenticate(request.header("authorization")) } catch {
            throw noted(error, nil, request)
        }
    }

    /// The error, once it is in the audit log.
    private func noted(_ error: NeedletailError, _ principal: Principal?, _ request: AdminRequest) -> NeedletailError {
        gate?.note(refusalAt: request.path, of: principal, error, requestID: request.header("x-request-id"), peer: request.peer)
        return error
    }

    private func checkHost(_ request: AdminRequest) throws(NeedletailError) {
        let name = Self.name(ofHost: request.host.lowercased())
        // Only names of the public DNS can be made to mean another machine by whoever owns them.
        guard !name.isEmpty, names.contains(name) || name == "localhost" || Self.isAddress(name) || !name.contains(".") else {
            throw NeedletailError(.permissionDenied, "this port is not known by the name \"\(name)\"; if it should be, start with --admin-origin \(name)")
        }
    }

    private func checkOrigin(_ request: AdminRequest) throws(NeedletailError) {
        let origin = request.header("origin")?.lowercased()
        let host = request.host.lowercased()
        let isOwn = origin.map { $0 == "http://\(host)" || $0 == "https://\(host)" || origins.contains($0) } ?? true
        guard isOwn, request.method == "GET" || origin != nil || request.header("sec-fetch-site") != "cross-site" else {
            throw NeedletailError(.permissionDenied, "requests of other sites are not taken; if \(origin ?? "this one") may, name it with --admin-origin")
        }
    }

    /// Without the port.
    private static func name(ofHost host: String) -> String {
        if host.hasPrefix("[") { return String(host.dropFirst().prefix { $0 != "]" }) }
        return String(host.prefix { $0 != ":" && $0 != "/" })
    }

    private static func isAddress(_ name: String) -> Bool {
        if name.contains(":") { return name.allSatisfy { $0.isHexDigit || $0 == ":" || $0 == "." } }
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts.allSatisfy { UInt8($0) != nil }
    }
}
