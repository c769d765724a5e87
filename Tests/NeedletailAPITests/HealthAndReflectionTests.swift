import NIOCore
import NeedletailAPI
import NeedletailCore
import NeedletailGRPC
import Testing

@Suite struct HealthTests {
    @Test func checkAndWatch() async throws {
        let health = HealthService()
        try await withServer({ $0.registerHealth(health) }) { client in
            func check(_ service: String) async throws -> ServingStatus {
                try HealthMessages.status.decode(
                    try await client.unary(HealthService.check, try HealthMessages.check.encode(service)))
            }
            #expect(try await check("") == .notServing)
            health.set(.serving)
            #expect(try await check("") == .serving)
            let error = await #expect(throws: NeedletailError.self) { _ = try await check("late") }
            #expect(error?.code == .notFound)

            var watch = try await client.serverStreaming(HealthService.watch, try HealthMessages.check.encode("late"))
                .makeAsyncIterator()
            func next() async throws -> ServingStatus? { try await watch.next().map { try HealthMessages.status.decode($0) } }
            #expect(try await next() == .serviceUnknown)
            health.set(.serving, for: "late")
            #expect(try await next() == .serving)
            health.set(.serving, for: "late")
            health.set(.notServing, for: "late")
            #expect(try await next() == .notServing)
            health.set(.serving, for: "late")
            #expect(try await next() == .serving)
            health.shutDown()
            #expect(try await next() == .notServing)
            health.set(.serving, for: "late")
            #expect(health.status(of: "late") == .notServing)
        }
    }
}

@Suite struct ReflectionTests {
    private typealias Wire = RefusalTests.Wire

    private func ask(_ field: UInt64, _ text: String) throws -> String {
        let answer = try ReflectionService(services: ["needletail.v1.Points"]).answer(Wire().text(field, text).message)
        return String(decoding: answer.readableBytesView, as: UTF8.self)
    }

    @Test func answersEveryQuestion() throws {
        #expect(try ask(7, "").contains("needletail.v1.Points"))
        let symbols = [
            "needletail.v1.Points", "needletail.v1.Points.Search", "needletail.v1.Point", "needletail.v1.Point.id",
            "needletail.v1.Point.VectorsEntry", "needletail.v1.Acknowledge", "needletail.v1.ACKNOWLEDGE_DURABLE",
        ]
        for symbol in symbols {
            let answer = try ask(4, symbol)
            #expect(answer.contains("needletail/v1/points.proto"), "\(symbol)")
            // What the file imports comes with it.
            #expect(answer.contains("uuid_text"), "\(symbol)")
        }
        #expect(try ask(4, "grpc.health.v1.HealthCheckResponse.ServingStatus").contains("health.proto"))
        #expect(try ask(3, "needletail/v1/common.proto").contains("ShardCoverage"))
        #expect(try ask(6, "needletail.v1.Point").contains("needletail.v1.Point"))
        for (field, text) in [(4, "no.Such"), (3, "no.proto"), (6, "no.Such")] as [(UInt64, String)] {
            #expect(try ask(field, text).contains("there is no"))
        }
        #expect(try ask(1, "host").contains("asks for nothing"))
        #expect(throws: NeedletailError.self) { try ReflectionService(services: []).answer(ByteBuffer(bytes: [0xff])) }
    }

    @Test func isServedUnderBothNames() async throws {
        try await withServer({
            $0.registerCluster(FakeCluster())
            $0.registerReflection()
        }) { client in
            for service in ReflectionService.services {
                let call = try await client.bidirectional(GRPCMethod(service: service, name: "ServerReflectionInfo"))
                var responses = call.responses.makeAsyncIterator()
                for _ in 0..<3 {
                    try await call.send(Wire().text(7, "").message)
                    let answer = try #require(try await responses.next())
                    #expect(String(decoding: answer.readableBytesView, as: UTF8.self).contains("needletail.v1.Collections"))
                }
                call.finishSending()
                #expect(try await responses.next() == nil)
            }
        }
    }
}
