import NeedletailTelemetry
import Testing

/// The cases of the text (W3C Trace Context, sections 3 and 4.3) and of its test suite.
@Suite struct TraceContextTests {
    private static let trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    private static let span = "00f067aa0ba902b7"
    private static let whole = "00-\(trace)-\(span)-01"

    @Test func readsAndWritesWhatIsRight() throws {
        let context = try #require(TraceContext(parents: [Self.whole], states: ["rojo=00f067aa0ba902b7", "congo=t61rcWkgMzE"]))
        #expect(context.traceID == TraceContext.TraceID(high: 0x4bf9_2f35_77b3_4da6, low: 0xa3ce_929d_0e0e_4736))
        #expect(context.traceID.description == Self.trace)
        #expect(context.spanID == 0x00f0_67aa_0ba9_02b7)
        #expect(context.isSampled && context.state == "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE")
        #expect(context.traceparent == Self.whole)
        #expect(TraceContext(parents: ["00-\(Self.trace)-\(Self.span)-00"])?.isSampled == false)
        // Of the flags, only one is known here.
        #expect(TraceContext(parents: ["00-\(Self.trace)-\(Self.span)-ff"])?.traceparent == Self.whole)
    }

    @Test(arguments: [
        "", "00", "00-\(trace)-\(span)", "00-\(trace)-\(span)-0", "00-\(trace)-\(span)-01-", "00-\(trace)-\(span)-01-what", "ff-\(trace)-\(span)-01",
        "0-\(trace)-\(span)-01", "00-\(trace.uppercased())-\(span)-01", "00-\(trace)-\(span.uppercased())-01", "00-\(trace)-\(span)-0X",
        "00-00000000000000000000000000000000-\(span)-01", "00-\(trace)-0000000000000000-01", "00-\(trace.dropLast())-\(span)-01", "00_\(trace)_\(span)_01",
        " 00-\(trace)-\(span)-01", "00-\(trace)-\(span)-01 ", "00-\(trace.dropLast())é-\(span)-01", "01-\(trace)-\(span)-01x",
    ])
    func beginsAnewAfterWhatIsMalformed(_ header: String) { #expect(TraceContext(parents: [header]) == nil) }

    @Test func beginsAnewWhenThereAreTwo() {
        #expect(TraceContext(parents: []) == nil)
        #expect(TraceContext(parents: [Self.whole, Self.whole]) == nil)
    }

    /// What later versions add stands after what this one knows.
    @Test(arguments: ["01-\(trace)-\(span)-01", "cc-\(trace)-\(span)-01-what-the-future-brings", "01-\(trace)-\(span)-01-"])
    func takesWhatItKnowsOfLaterVersions(_ header: String) { #expect(TraceContext(parents: [header])?.traceparent == Self.whole) }

    @Test(arguments: ["a=1", "a=1,b=2", "a=1 , b=2", "a=1,,b=2", "0@vendor=x", "a_-*/=!~", ""])
    func passesOnStates(_ state: String) { #expect(TraceContext(parents: [Self.whole], states: [state])?.state == state) }

    @Test(arguments: ["a", "a=1,a=2", "A=1", "=1", "a=", "a=b=c", "a=\u{7}", "é=1", String(repeating: "a", count: 300) + "=1"])
    func dropsMalformedStatesAndKeepsTheTrace(_ state: String) {
        let context = TraceContext(parents: [Self.whole], states: [state])
        #expect(context?.state == "" && context?.traceparent == Self.whole)
    }

    @Test func dropsMoreStatesThanThereMayBe() {
        let states = (0..<33).map { "k\($0)=v" }
        #expect(TraceContext(parents: [Self.whole], states: Array(states.prefix(32)))?.state.isEmpty == false)
        #expect(TraceContext(parents: [Self.whole], states: states)?.state == "")
    }
}

@Suite struct CallTracingTests {
    private static let sampled = TraceContext(parents: ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"])
    private static let unsampled = TraceContext(parents: ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"])

    private func tracing(_ rate: Double) -> CallTracing {
        CallTracing(tracer: Tracer(service: "test", sampleRate: rate, limit: 3, metrics: MetricsRegistry([])), entryServices: ["Entry"])
    }

    @Test func followsTheCaller() throws {
        for rate in [0.0, 1.0] {
            let wanted = try #require(tracing(rate).begin(service: "Inner", method: "M", isEntry: false, requestID: "r", caller: Self.sampled))
            #expect(wanted.requestID == "r" && wanted.traceContext?.traceID == Self.sampled?.traceID && wanted.traceContext?.spanID != Self.sampled?.spanID)
            let unwanted = try #require(tracing(rate).begin(service: "Entry", method: "M", isEntry: true, requestID: nil, caller: Self.unsampled))
            #expect(unwanted.span == nil && unwanted.traceContext == Self.unsampled)
        }
    }

    @Test func beginsTracesWhereUsersComeIn() {
        #expect(tracing(1).begin(service: "Entry", method: "M", isEntry: true, requestID: nil, caller: nil)?.span != nil)
        #expect(tracing(0).begin(service: "Entry", method: "M", isEntry: true, requestID: nil, caller: nil)?.span == nil)
        #expect(tracing(1).begin(service: "Inner", method: "M", isEntry: false, requestID: nil, caller: nil) == nil)
        #expect(tracing(1).begin(service: "Inner", method: "M", isEntry: false, requestID: "r", caller: nil)?.span == nil)
        let some = tracing(0.5)
        let chosen = (0..<1000).count { _ in some.begin(service: "Entry", method: "M", isEntry: true, requestID: nil, caller: nil)?.span != nil }
        #expect((350...650).contains(chosen))
    }

    @Test func doesNotTakeEveryName() {
        for name in ["", "a b", "a\n", String(repeating: "x", count: 129), "é"] { #expect(RequestID.accept(name) == nil) }
        let made = Set((0..<10_000).map { _ in RequestID.make() })
        #expect(made.count == 10_000 && made.allSatisfy { $0.utf8.count == 12 && RequestID.accept($0) != nil })
    }

    @Test func dropsWhatTheQueueHasNoRoomFor() throws {
        let registry = MetricsRegistry([])
        let tracer = Tracer(service: "test", sampleRate: 1, limit: 3, metrics: registry)
        for number in 0..<5 { tracer.begin("\(number)", .internal, from: nil).end() }
        #expect(tracer.take(atMost: 2).map(\.name) == ["0", "1"])
        #expect(tracer.take(atMost: 9).map(\.name) == ["2"])
        #expect(registry.text().contains("needletail_trace_spans_total{result=\"dropped\"} 2"))
    }

    @Test func spansEndOnce() throws {
        let tracer = Tracer(service: "test", sampleRate: 1, metrics: MetricsRegistry([]))
        let parent = tracer.begin("parent", .server, from: Self.sampled)
        let child = parent.child("child", at: parent.began)
        child.end(error: "broken", at: parent.began + .milliseconds(5))
        child.end()
        parent.end(at: parent.began + .milliseconds(7))
        let spans = tracer.take(atMost: 9)
        try #require(spans.count == 2)
        #expect(spans[0].parent == spans[1].context.spanID && spans[0].error == "broken" && spans[1].parent == 0x00f0_67aa_0ba9_02b7)
        #expect(spans[0].end - spans[0].start == 5_000_000 && spans[1].end - spans[1].start == 7_000_000)
    }

    @Test(arguments: [("http://a:1", "a", 1), ("http://localhost", "localhost", 4317), ("http://[::1]:5/", "::1", 5), ("http://[::1]", "::1", 4317), ("https://a", "a", 4317)])
    func readsAddresses(_ text: String, _ host: String, _ port: Int) throws {
        let configuration = try #require(try TracingConfiguration(endpoint: text, sampleRate: 0.5))
        #expect(configuration.host == host && configuration.port == port && configuration.isEncrypted == text.hasPrefix("https"))
    }

    @Test(arguments: ["", "localhost:4317", "grpc://a:1", "https://", "http://", "http://a:b"])
    func refusesWhatIsNoAddress(_ text: String) { #expect(throws: (any Error).self) { try TracingConfiguration(endpoint: text, sampleRate: 0.5) } }
}
