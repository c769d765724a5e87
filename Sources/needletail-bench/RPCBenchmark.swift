import Glibc
import NIOCore
import NIOPosix
import NeedletailCore
import NeedletailGRPC
import NeedletailHTTP2

/// Unary echo calls over loopback TCP, client and server on an event loop each, in one process.
///
/// `concurrency` tasks each call again and again. Prints a JSON line for every level. `rps_per_core` divides by the processor time of
/// the whole process, client and server together. `Tests/Peers/GRPCEcho` runs the same with grpc-swift-2.
func runRPCBenchmark(concurrency: [Int], seconds: Double) async throws {
    let serverGroup = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let clientGroup = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let method = GRPCMethod(service: "bench.Echo", name: "Echo")
    var router = GRPCRouter()
    router.unary(method) { message, _ in message }
    let server = GRPCServer(configuration: .init(), router: router, group: serverGroup)
    let port = try await server.start().port ?? 0
    let client = GRPCClient(host: "127.0.0.1", port: port, group: clientGroup)
    let message = ByteBuffer(repeating: 7, count: 64)
    let loop = try await clientGroup.next().submit { LoopExecutor.on(clientGroup.next()) }.get()

    for count in concurrency {
        let shared = await measureRPC(count, seconds) { try await client.unary(method, message).readableBytes }
        print(shared.line(engine: "needletail", concurrency: count))
        let onLoop = await measureRPC(count, seconds, executor: loop) { try await client.unary(method, message).readableBytes }
        print(onLoop.line(engine: "needletail-on-loop", concurrency: count))
    }
    await client.close()
    await server.shutdown(grace: .seconds(1))
    try await clientGroup.shutdownGracefully()
    try await serverGroup.shutdownGracefully()
}

private struct RPCMeasurement {
    var latencies: [Int64]
    var wallSeconds: Double
    var cpuSeconds: Double

    func line(engine: String, concurrency: Int) -> String {
        let sorted = latencies.sorted()
        let rps = Double(sorted.count) / wallSeconds
        let perCore = Double(sorted.count) / cpuSeconds
        func microseconds(_ quantile: Double) -> Double {
            sorted.isEmpty ? 0 : Double(sorted[min(sorted.count - 1, Int(Double(sorted.count) * quantile))]) / 1000
        }
        return """
            {"phase":"rpc","engine":"\(engine)","concurrency":\(concurrency),"rps":\(Int(rps)),"cpu_seconds":\(rounded(cpuSeconds)),\
            "rps_per_core":\(Int(perCore)),"p50_us":\(rounded(microseconds(0.5))),"p99_us":\(rounded(microseconds(0.99)))}
            """
    }

    private func rounded(_ value: Double) -> Double { (value * 100).rounded() / 100 }
}

/// Half a second to warm up, then `seconds` measured.
private func measureRPC(
    _ concurrency: Int, _ seconds: Double, executor: (any TaskExecutor)? = nil, _ call: @escaping @Sendable () async throws -> Int
) async -> RPCMeasurement {
    _ = await callRPC(concurrency, .milliseconds(500), executor, call)
    let cpu = processorSeconds()
    let start = ContinuousClock.now
    let latencies = await callRPC(concurrency, .nanoseconds(Int64(seconds * 1e9)), executor, call)
    let wall = (ContinuousClock.now - start).nanoseconds
    return RPCMeasurement(latencies: latencies, wallSeconds: Double(wall) / 1e9, cpuSeconds: processorSeconds() - cpu)
}

private func callRPC(
    _ concurrency: Int, _ duration: Duration, _ executor: (any TaskExecutor)?, _ call: @escaping @Sendable () async throws -> Int
) async -> [Int64] {
    await withTaskGroup(of: [Int64].self) { group in
        let end = Deadline.after(duration)
        for _ in 0..<concurrency {
            group.addTask(executorPreference: executor) {
                var latencies: [Int64] = []
                var last = ContinuousClock.now
                while !end.isPast {
                    guard (try? await call()) == 64 else { fatalError("an echo failed") }
                    let now = ContinuousClock.now
                    latencies.append((now - last).nanoseconds)
                    last = now
                }
                return latencies
            }
        }
        return await group.reduce(into: []) { $0 += $1 }
    }
}

/// User and system time of the process so far.
private func processorSeconds() -> Double {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
    return seconds(usage.ru_utime) + seconds(usage.ru_stime)
}
