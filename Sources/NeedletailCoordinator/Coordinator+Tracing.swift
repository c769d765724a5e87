internal import NeedletailCluster
internal import NeedletailCore
internal import NeedletailTelemetry

/// A move, a split, a merge, a backup, a restore or a deletion as its trace shows it.
struct TracedOperation: Sendable {
    let kind: String
    let id: UInt64
    let step: String
    let hasEnded: Bool
    /// Why it failed; empty: it did not.
    let problem: String
    let createdMilliseconds: Int64
    let attributes: [SpanAttribute]

    init(_ move: Move) {
        (kind, id, step, createdMilliseconds) = ("move", move.id, move.step.name, move.createdMilliseconds)
        (hasEnded, problem) = (move.step.hasEnded, move.step == .failed ? move.problem : "")
        attributes = [
            SpanAttribute("needletail.collection", .text(move.collection)), SpanAttribute("needletail.shard", .count(move.shard.number)),
            SpanAttribute("needletail.from", .text(move.from.map { "\($0)" } ?? "")), SpanAttribute("needletail.to", .text(move.to.map { "\($0)" } ?? "")),
            SpanAttribute("needletail.reason", .text(move.reason)),
        ]
    }

    init(_ split: Split) {
        (kind, id, step, createdMilliseconds) = ("split", split.id, split.step.name, split.createdMilliseconds)
        (hasEnded, problem) = (split.step.hasEnded, split.step == .failed ? split.problem : "")
        attributes = [
            SpanAttribute("needletail.collection", .text(split.collection)), SpanAttribute("needletail.shard", .count(split.parent.number)),
            SpanAttribute("needletail.reason", .text(split.reason)),
        ]
    }

    init(_ merge: Merge) {
        (kind, id, step, createdMilliseconds) = ("merge", merge.id, merge.step.name, merge.createdMilliseconds)
        (hasEnded, problem) = (merge.step.hasEnded, merge.step == .failed ? merge.problem : "")
        attributes = [
            SpanAttribute("needletail.collection", .text(merge.collection)), SpanAttribute("needletail.shard", .count(merge.child.number)),
            SpanAttribute("needletail.reason", .text(merge.reason)),
        ]
    }

    init(_ backup: BackupOperation) {
        (kind, id, step, createdMilliseconds) = ("\(backup.kind)", backup.id, backup.step.name, backup.createdMilliseconds)
        (hasEnded, problem) = (backup.step.hasEnded, backup.step == .failed ? backup.problem : "")
        attributes = [SpanAttribute("needletail.collection", .text(backup.collection)), SpanAttribute("needletail.backup", .text(backup.name))]
    }
}

/// Operations outlive requests, and coordinators: their trace has the cluster's id and their own for its number, so that every leader that goes
/// on with one goes on with its trace. All are traced: they are few.
extension Coordinator {
    private func root(of operation: TracedOperation) -> TraceContext {
        TraceContext(traceID: .init(high: clusterID, low: operation.id), spanID: operation.id, isSampled: true)
    }

    /// Runs a step of an operation as a part of its trace. A step that does nothing leaves none.
    func step<Value>(of operation: TracedOperation, _ body: () async throws -> Value?) async rethrows -> Value? {
        let name = "\(operation.kind)-\(Incarnation(operation.id))"
        guard let tracer else { return try await RequestScope.$current.withValue(RequestScope(requestID: name, span: nil), operation: body) }
        let span = tracer.part(of: root(of: operation), "\(operation.kind): \(operation.step)", operation.attributes)
        do {
            let value = try await RequestScope.$current.withValue(RequestScope(requestID: name, span: span), operation: body)
            if value != nil || span.hasParts { span.end() }
            return value
        } catch {
            if span.hasParts { span.end(error: Self.wrap(error).message) }
            throw error
        }
    }

    /// The whole of an operation, once it is known to have ended.
    func ended(_ operation: TracedOperation) {
        guard let tracer, operation.hasEnded else { return }
        let age = Duration.milliseconds(max(0, Self.milliseconds() - operation.createdMilliseconds))
        let attributes = operation.attributes + [SpanAttribute("needletail.outcome", .text(operation.step))]
        tracer.begin(operation.kind, as: root(of: operation), attributes, at: .now - age).end(error: operation.problem.isEmpty ? nil : operation.problem)
    }
}
