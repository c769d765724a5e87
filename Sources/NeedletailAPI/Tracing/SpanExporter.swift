import NIOCore
public import NeedletailCore
public import NeedletailGRPC
public import NeedletailHTTP2
public import NeedletailTelemetry

/// Sends the spans of a process to a receiver, in batches and apart from the requests that they tell of.
///
/// A batch that the receiver cannot take now is kept and sent again, ever more slowly; what ends meanwhile waits in the tracer's queue, and is
/// dropped there once that is full. A batch that the receiver will never take is dropped at once (opentelemetry.io, OTLP, "Failures").
public struct SpanExporter: Sendable {
    private static let export = GRPCMethod(service: "opentelemetry.proto.collector.trace.v1.TraceService", name: "Export")
    private static let batchSpans = 512
    private static let pause = Duration.milliseconds(500)
    private static let longestPause = Duration.seconds(8)
    private static let timeout = Duration.seconds(10)

    private let tracer: Tracer
    private let client: GRPCClient

    public init(_ tracer: Tracer, client: GRPCClient) {
        self.tracer = tracer
        self.client = client
    }

    /// Until cancelled; what is left then is for `finish`.
    public func run() async {
        while !Task.isCancelled {
            let batch = tracer.take(atMost: Self.batchSpans)
            if batch.isEmpty {
                try? await Task.sleep(for: Self.pause)
            } else {
                await deliver(batch)
            }
        }
    }

    /// Sends what is left, for at most `limit`, and closes the connection.
    public func finish(within limit: Duration) async {
        let end = Deadline.after(limit)
        while !end.isPast {
            let batch = tracer.take(atMost: Self.batchSpans)
            if batch.isEmpty { break }
            if await attempt(batch, until: end) != .done { tracer.lost(batch.count) }
        }
        tracer.lost(tracer.take(atMost: .max).count)
        await client.close()
    }

    private func deliver(_ batch: [FinishedSpan]) async {
        var pause = Self.pause
        while true {
            switch await attempt(batch, until: .after(Self.timeout)) {
            case .done: return
            case .refused: return tracer.lost(batch.count)
            case .notNow where Task.isCancelled: return tracer.putBack(batch)
            case .notNow(let wish):
                // A quarter at random, so that the processes of a cluster do not come all at once.
                let wait = max(wish ?? .zero, pause * Double.random(in: 0.75...1))
                do { try await Task.sleep(for: wait) } catch { return tracer.putBack(batch) }
                pause = min(pause * 2, Self.longestPause)
            }
        }
    }

    private enum Outcome: Equatable {
        case done, refused
        case notNow(Duration?)
    }

    private func attempt(_ batch: [FinishedSpan], until deadline: Deadline) async -> Outcome {
        do {
            let answer = try await client.unary(Self.export, try SpanCodecs.request(batch, of: tracer), options: CallOptions(deadline: deadline))
            let rejected = min(batch.count, SpanCodecs.rejected(answer))
            tracer.sent(batch.count - rejected)
            tracer.lost(rejected)
            return .done
        } catch let error as NeedletailError {
            switch error.code {
            case .cancelled, .deadlineExceeded, .aborted, .outOfRange, .unavailable, .dataLoss, .resourceExhausted: return .notNow(error.retryAfter)
            default: return .refused
            }
        } catch {
            return .notNow(nil)
        }
    }
}

extension Tracer {
    /// What sends a process' spans.
    /// - Parameter credentials: for a receiver that speaks TLS.
    public func exporter(to configuration: TracingConfiguration, _ credentials: TLSCredentials?, on threads: TransportThreads) -> SpanExporter {
        var client = GRPCClientConfiguration()
        client.tls = credentials.map { .client($0) }
        return SpanExporter(self, client: GRPCClient(host: configuration.host, port: configuration.port, configuration: client, group: threads.group))
    }
}

extension TracingConfiguration {
    /// nil for a receiver without TLS.
    /// - Throws: `invalidArgument` for a file that is no good.
    public func credentials() throws(NeedletailError) -> TLSCredentials? {
        guard isEncrypted else { return nil }
        return try TLSCredentials(TLSFiles(prefix: "otlp", authority: authority), uses: [.client])
    }
}
