import Foundation
import Logging
import Testing

@testable import NeedletailTelemetry

@Suite struct JSONLogTests {
    private func object(_ line: String) throws -> [String: Any] {
        #expect(line.hasSuffix("\n") && line.dropLast().allSatisfy { !$0.isNewline })
        return try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
    }

    @Test func aLineIsAnObject() throws {
        var handler = JSONLogHandler(label: "needletail", metadataProvider: nil)
        handler[metadataKey: "node"] = "n1"
        let line = handler.line(
            .warning, "two\nlines \"quoted\" \\ \u{1}\u{2028} é 🪡",
            ["count": .stringConvertible(3), "share": .stringConvertible(0.25), "whole": .stringConvertible(true), "message": "kept",
             "parts": .array([.dictionary(["shard": .stringConvertible(1)]), "x"])],
            microseconds: 1_793_491_199_000_007)
        let fields = try object(line)
        #expect(fields["time"] as? String == "2026-10-31T23:59:59.000007Z")
        #expect(fields["level"] as? String == "warning" && fields["logger"] as? String == "needletail" && fields["node"] as? String == "n1")
        #expect(fields["message"] as? String == "two\nlines \"quoted\" \\ \u{1}\u{2028} é 🪡" && fields["message_"] as? String == "kept")
        #expect(fields["count"] as? Int == 3 && fields["share"] as? Double == 0.25 && fields["whole"] as? Bool == true)
        let parts = try #require(fields["parts"] as? [Any])
        #expect((parts[0] as? [String: Int]) == ["shard": 1] && parts[1] as? String == "x")
    }

    @Test func linesNameTheirRequest() async throws {
        let handler = JSONLogHandler(label: "l", metadataProvider: Logger.MetadataProvider { RequestScope.current?.logMetadata ?? [:] })
        #expect(try object(handler.line(.info, "m", nil, microseconds: 0))["request_id"] == nil)
        let tracer = Tracer(service: "test", sampleRate: 1, metrics: MetricsRegistry([]))
        let scope = RequestScope(requestID: "r1", span: tracer.begin("s", .server, from: nil))
        let fields = try RequestScope.$current.withValue(scope) { try object(handler.line(.info, "m", nil, microseconds: 0)) }
        #expect(fields["request_id"] as? String == "r1" && fields["trace_id"] as? String == scope.traceContext?.traceID.description)
        #expect((fields["span_id"] as? String)?.count == 16)
        let outside = try RequestScope.$current.withValue(scope) { try RequestScope.outside { try object(handler.line(.info, "m", nil, microseconds: 0)) } }
        #expect(outside["request_id"] == nil)
    }

    @Test(arguments: [("100ms", 100_000_000), ("2s", 2_000_000_000), ("1.5s", 1_500_000_000), ("20us", 20_000), ("0ms", 0)])
    func readsDurations(_ text: String, _ nanoseconds: Int64) throws { #expect(try Flags.duration("--x", text) == .nanoseconds(nanoseconds)) }

    @Test(arguments: ["", "5", "ms", "-1s", "1h", "nans", "1e9s"])
    func refusesWhatIsNoDuration(_ text: String) { #expect(throws: (any Error).self) { try Flags.duration("--x", text) } }
}
