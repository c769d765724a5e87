import CoreMetrics
import NeedletailTelemetry
import Testing

/// What Prometheus reads.
@Suite struct MetricsRegistryTests {
    private static let hits = MetricDefinition("hits_total", .counter, labels: ["path"], "Hits.")
    private static let size = MetricDefinition("size_bytes", .gauge, "Size \\ with\na second line.")
    private static let times = MetricDefinition("time_seconds", .histogram([0.1, 1]), labels: ["path"], "Times.")

    @Test func writesThePrometheusFormat() {
        let registry = MetricsRegistry([Self.hits, Self.size, Self.times])
        registry.counter(Self.hits, ["/b"]).increment(by: 2)
        registry.counter(Self.hits, ["/a \"quoted\" \\ \n"]).increment()
        registry.counter(Self.hits, ["/b"]).increment()
        for value in [0.05, 0.1, 0.5, 7] { registry.histogram(Self.times, ["/a"]).record(value) }
        registry.onCollect { $0.add(Self.size, [], 1.5) }
        #expect(
            registry.text() == """
                # HELP hits_total Hits.
                # TYPE hits_total counter
                hits_total{path="/a \\"quoted\\" \\\\ \\n"} 1
                hits_total{path="/b"} 3
                # HELP size_bytes Size \\\\ with\\na second line.
                # TYPE size_bytes gauge
                size_bytes 1.5
                # HELP time_seconds Times.
                # TYPE time_seconds histogram
                time_seconds_bucket{path="/a",le="0.1"} 2
                time_seconds_bucket{path="/a",le="1"} 3
                time_seconds_bucket{path="/a",le="+Inf"} 4
                time_seconds_sum{path="/a"} 7.65
                time_seconds_count{path="/a"} 4

                """)
    }

    @Test func equalSeriesAreAddedUp() {
        let registry = MetricsRegistry([Self.size])
        for value in 1...3 { registry.onCollect { $0.add(Self.size, [], value) } }
        #expect(registry.text().hasSuffix("\nsize_bytes 6\n"))
    }

    @Test func seriesAreBounded() {
        let registry = MetricsRegistry([Self.hits])
        for number in 0..<5_000 { registry.counter(Self.hits, ["/\(number)"]).increment() }
        let lines = registry.text().split(separator: "\n").filter { $0.hasPrefix("hits_total{") }
        #expect(lines.count == 2_001)
        #expect(lines.contains("hits_total{path=\"other\"} 3000"))
    }

    @Test func librariesMayTellOfThemselves() {
        let registry = MetricsRegistry([])
        Counter(label: "some.library-counter", dimensions: [("the kind", "x")], factory: registry).increment()
        Timer(label: "9lives", factory: registry).recordSeconds(2)
        let text = registry.text()
        #expect(text.contains("some_library_counter{the_kind=\"x\"} 1\n"))
        #expect(text.contains("_9lives_count 1\n") && text.contains("_9lives_sum 2\n"))
    }

    @Test func countersOnlyGrow() {
        let registry = MetricsRegistry([Self.hits])
        let counter = registry.counter(Self.hits, ["/"])
        counter.increment(by: 5)
        counter.increment(by: -3)
        #expect(registry.text().contains("hits_total{path=\"/\"} 5\n"))
    }

    @Test func definitionsAreDistinctAndFollowTheConventions() {
        let all = MetricDefinition.ofProcesses + MetricDefinition.ofWorkers + MetricDefinition.ofCoordinators
        #expect(Set(all.map(\.name)).count == all.count)
        for metric in all {
            #expect(metric.name.allSatisfy { $0.isLowercase || $0 == "_" }, "\(metric.name)")
            #expect(metric.help.hasSuffix("."), "\(metric.name)")
            if metric.kind == .counter { #expect(metric.name.hasSuffix("_total") || metric.name.hasSuffix("_sequence"), "\(metric.name)") }
        }
    }

    @Test func callsAreCountedByMethodAndCode() {
        let registry = MetricsRegistry(MetricDefinition.ofProcesses)
        let calls = RPCMetrics(registry)
        for _ in 0..<3 { calls.began("/a.Service/Do") }
        calls.ended("/a.Service/Do", code: "OK", took: .milliseconds(3))
        calls.ended("/a.Service/Do", code: "UNAVAILABLE", took: .seconds(40))
        let text = registry.text()
        #expect(text.contains("needletail_rpc_server_handled_total{service=\"a.Service\",method=\"Do\",code=\"OK\"} 1\n"))
        #expect(text.contains("needletail_rpc_server_handled_total{service=\"a.Service\",method=\"Do\",code=\"UNAVAILABLE\"} 1\n"))
        #expect(text.contains("needletail_rpc_server_under_way{service=\"a.Service\",method=\"Do\"} 1\n"))
        #expect(text.contains("needletail_rpc_server_duration_seconds_bucket{service=\"a.Service\",method=\"Do\",le=\"0.005\"} 1\n"))
        #expect(text.contains("needletail_rpc_server_duration_seconds_bucket{service=\"a.Service\",method=\"Do\",le=\"30\"} 1\n"))
        #expect(text.contains("needletail_rpc_server_duration_seconds_count{service=\"a.Service\",method=\"Do\"} 2\n"))
    }
}
