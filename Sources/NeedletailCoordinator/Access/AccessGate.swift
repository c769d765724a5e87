internal import NeedletailCore
internal import NeedletailGRPC
internal import NeedletailSecurity
internal import NeedletailTelemetry

/// Stands before every method of the public API: who calls, may they, how often; and writes down what came of it. What hangs on the collection
/// that a request names is asked by `AuthorizedCluster`, which has it decoded.
struct AccessGate: CallGate {
    let authenticator: Authenticator
    let audit: AuditLog?
    let goesOnWithoutAudit: Bool
    let metrics: CoordinatorMetrics?
    let introduction: ConnectGateway.Introduction

    private static let publicPrefix = "/needletail.v1."

    func pass<Value: Sendable>(_ context: ServerContext, messageBytes: Int?, _ handler: () async throws -> Value) async throws -> Value {
        // Health and reflection say nothing about the cluster's content; what processes ask each other is not for callers.
        guard context.method.path.hasPrefix(Self.publicPrefix) else { return try await handler() }
        var (principal, caller): (Principal?, Caller?)
        do {
            let authorization = context.metadata["authorization"]
            let known = try await authenticator.authenticate(authorization)
            principal = known
            let admitted = try admit(known, context, messageBytes)
            caller = admitted
            let value = try await Caller.$current.withValue(admitted) {
                try await Forwarding.$authorization.withValue(authorization) { try await handler() }
            }
            // A stream of no messages has asked for nothing.
            guard admitted.wasChecked || messageBytes == nil else {
                throw NeedletailError(.internal, "\(context.method) answered without asking who may have the answer; report this as a bug")
            }
            if admitted.rule.isChange { note(context, principal, admitted.collection, nil) }
            return value
        } catch {
            let failure = Coordinator.wrap(error)
            let isRefusal = failure.code == .unauthenticated || failure.code == .permissionDenied
            if isRefusal || caller?.rule.isChange == true { note(context, principal, caller?.collection, failure) }
            throw failure
        }
    }

    private func admit(_ principal: Principal, _ context: ServerContext, _ messageBytes: Int?) throws(NeedletailError) -> Caller {
        guard let rule = AccessRule.of(context.method.path) else {
            throw NeedletailError(.permissionDenied, "nobody may call \(context.method); report this as a bug")
        }
        try authenticator.admit(principal)
        let caller = Caller(principal, rule, limits: authenticator.limits(of: principal), authorization: context.metadata["authorization"])
        if let messageBytes { try caller.check(bytes: messageBytes) }
        try principal.info.check(rule, context.method.path)
        if rule.isAdministrative, !goesOnWithoutAudit { try audit?.checkWritable() }
        return caller
    }

    private func note(_ context: ServerContext, _ principal: Principal?, _ collection: String?, _ failure: NeedletailError?) {
        let peer = context.metadata[ConnectGateway.Introduction.key].flatMap(introduction.peer) ?? context.peer
        write(
            AuditLog.Entry(
                principal: principal, method: context.method.path, collection: collection, outcome: failure?.code.wireName ?? "OK",
                reason: failure?.message, requestID: RequestScope.current?.requestID, peer: peer, isForwarded: Forwarding.isPassedOn(context)))
    }

    /// Writes down that the admin port refused somebody, before there was a call.
    func note(refusalAt path: String, of principal: Principal?, _ failure: NeedletailError, requestID: String?, peer: String) {
        write(
            AuditLog.Entry(
                principal: principal, method: path, collection: nil, outcome: failure.code.wireName, reason: failure.message,
                requestID: requestID.flatMap(RequestID.accept), peer: peer, isForwarded: false))
    }

    private func write(_ entry: AuditLog.Entry) {
        if let audit, !audit.write(entry) { metrics?.auditFailed() }
    }
}

extension Forwarding {
    /// Whoever says so with TLS has to be a coordinator: others would have their own requests pass for somebody's.
    static func isPassedOn(_ context: ServerContext) -> Bool {
        context.metadata["needletail-forwarded"] != nil && (context.peerIdentity == .unencrypted || context.peerIdentity.isNode(of: .coordinator))
    }
}
