import GRPCCore
import GRPCNIOTransportHTTP2Posix
import Glibc
import NIOPosix

// The workload of Sources/needletail-bench/RPCBenchmark.swift: `GRPCEcho 1 16 128`.

struct Raw: MessageSerializer, MessageDeserializer {
    func serialize<Bytes: GRPCContiguousBytes>(_ message: [UInt8]) throws -> Bytes { Bytes(message) }
    func deserialize<Bytes: GRPCContiguousBytes>(_ bytes: Bytes) throws -> [UInt8] { bytes.withUnsafeBytes { Array($0) } }
}

let method = MethodDescriptor(fullyQualifiedService: "bench.Echo", method: "Echo")

struct EchoService: RegistrableRPCService {
    func registerMethods<Transport: ServerTransport>(with router: inout RPCRouter<Transport>) {
        router.registerHandler(forMethod: method, deserializer: Raw(), serializer: Raw()) { request, context in
            let single = try await ServerRequest(stream: request)
            return StreamingServerResponse(single: ServerResponse(message: single.message))
        }
    }
}

func processorSeconds() -> Double {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
    return seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

func callMany(_ concurrency: Int, _ duration: Duration, _ call: @escaping @Sendable () async throws -> Int) async -> [Int64] {
    await withTaskGroup(of: [Int64].self) { group in
        let end = ContinuousClock.now + duration
        for _ in 0..<concurrency {
            group.addTask {
                var latencies: [Int64] = []
                var last = ContinuousClock.now
                while last < end {
                    guard (try? await call()) == 64 else { fatalError("an echo failed") }
                    let now = ContinuousClock.now
                    latencies.append((now - last).components.attoseconds / 1_000_000_000)
                    last = now
                }
                return latencies
            }
        }
        return await group.reduce(into: []) { $0 += $1 }
    }
}

func measure(_ concurrency: Int, _ seconds: Int, _ call: @escaping @Sendable () async throws -> Int) async {
    _ = await callMany(concurrency, .milliseconds(500), call)
    let cpu = processorSeconds()
    let start = ContinuousClock.now
    let sorted = await callMany(concurrency, .seconds(seconds), call).sorted()
    let wall = (ContinuousClock.now - start) / .seconds(1)
    let cpuSeconds = processorSeconds() - cpu
    func rounded(_ value: Double) -> Double { (value * 100).rounded() / 100 }
    func microseconds(_ quantile: Double) -> Double {
        rounded(Double(sorted[min(sorted.count - 1, Int(Double(sorted.count) * quantile))]) / 1000)
    }
    print(
        """
        {"phase":"rpc","engine":"grpc-swift-2","concurrency":\(concurrency),"rps":\(Int(Double(sorted.count) / wall)),\
        "cpu_seconds":\(rounded(cpuSeconds)),"rps_per_core":\(Int(Double(sorted.count) / cpuSeconds)),\
        "p50_us":\(microseconds(0.5)),"p99_us":\(microseconds(0.99))}
        """)
}

let serverGroup = MultiThreadedEventLoopGroup(numberOfThreads: 1)
let clientGroup = MultiThreadedEventLoopGroup(numberOfThreads: 1)
let server = GRPCServer(
    transport: HTTP2ServerTransport.Posix(
        address: .ipv4(host: "127.0.0.1", port: 0), transportSecurity: .plaintext, eventLoopGroup: serverGroup),
    services: [EchoService()])

try await withThrowingDiscardingTaskGroup { group in
    group.addTask { try await server.serve() }
    let address = try await server.listeningAddress
    let port = address?.ipv4?.port ?? 0
    let client = GRPCClient(
        transport: try HTTP2ClientTransport.Posix(
            target: .ipv4(address: "127.0.0.1", port: port), transportSecurity: .plaintext, eventLoopGroup: clientGroup))
    group.addTask { try await client.runConnections() }
    let message = [UInt8](repeating: 7, count: 64)
    for concurrency in CommandLine.arguments.dropFirst().compactMap({ Int($0) }) {
        await measure(concurrency, 3) {
            try await client.unary(
                request: ClientRequest(message: message), descriptor: method, serializer: Raw(), deserializer: Raw(),
                options: .defaults
            ) { try $0.message.count }
        }
    }
    client.beginGracefulShutdown()
    server.beginGracefulShutdown()
}
