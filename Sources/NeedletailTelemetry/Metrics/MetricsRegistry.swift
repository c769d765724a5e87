public import CoreMetrics
internal import Synchronization

/// All metrics of a process, and their text for Prometheus.
///
/// What happens often is told to instruments of swift-metrics, made with this as their factory; how things stand is asked for when somebody
/// wants to know (`onCollect`). A metric that was not defined is exported all the same: libraries tell of themselves, too.
public final class MetricsRegistry: MetricsFactory {
    private struct Family {
        var definition: MetricDefinition
        /// By the values of the labels.
        var series: [[String]: MetricSeries] = [:]
    }

    private struct State {
        var families: [String: Family] = [:]
        var collectors: [@Sendable (inout MetricsReport) -> Void] = []
    }

    /// Series of one metric; more, which some client's choice of words would make, are counted together under "other".
    private static let seriesLimit = 2_000

    private let state: Mutex<State>

    public init(_ definitions: [MetricDefinition]) {
        state = Mutex(State(families: Dictionary(uniqueKeysWithValues: definitions.map { ($0.name, Family(definition: $0)) })))
    }

    /// - Parameter labels: values, in the order of the definition's names.
    public func counter(_ definition: MetricDefinition, _ labels: [String] = []) -> Counter {
        Counter(label: definition.name, dimensions: Array(zip(definition.labels, labels)), factory: self)
    }

    /// A counter of time.
    public func seconds(_ definition: MetricDefinition, _ labels: [String] = []) -> FloatingPointCounter {
        FloatingPointCounter(label: definition.name, dimensions: Array(zip(definition.labels, labels)), factory: self)
    }

    public func histogram(_ definition: MetricDefinition, _ labels: [String] = []) -> Recorder {
        Recorder(label: definition.name, dimensions: Array(zip(definition.labels, labels)), aggregate: true, factory: self)
    }

    /// `body` is called whenever somebody wants to know, on any thread, and must not wait.
    public func onCollect(_ body: @escaping @Sendable (inout MetricsReport) -> Void) { state.withLock { $0.collectors.append(body) } }

    /// The Prometheus text format, version 0.0.4.
    public func text() -> String {
        let collectors = state.withLock { $0.collectors }
        var report = MetricsReport()
        // Without the lock: collectors look at locks of their own.
        for collect in collectors { collect(&report) }
        state.withLock { state in
            for family in state.families.values {
                for (labels, series) in family.series { report.add(family.definition, labels, series.current) }
            }
        }
        return report.text()
    }

    // MARK: MetricsFactory

    public func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler { series(label, dimensions, .counter) }
    public func makeFloatingPointCounter(label: String, dimensions: [(String, String)]) -> any FloatingPointCounterHandler {
        series(label, dimensions, .counter)
    }
    public func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler { series(label, dimensions, .gauge) }
    public func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
        series(label, dimensions, aggregate ? .histogram(MetricDefinition.secondsOfRequests) : .gauge)
    }
    public func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        series(label, dimensions, .histogram(MetricDefinition.secondsOfRequests))
    }

    // Series stay: Prometheus takes one that vanishes for a process that was restarted.
    public func destroyCounter(_ handler: any CounterHandler) {}
    public func destroyFloatingPointCounter(_ handler: any FloatingPointCounterHandler) {}
    public func destroyMeter(_ handler: any MeterHandler) {}
    public func destroyRecorder(_ handler: any RecorderHandler) {}
    public func destroyTimer(_ handler: any TimerHandler) {}

    private func series(_ label: String, _ dimensions: [(String, String)], _ kind: MetricDefinition.Kind) -> MetricSeries {
        state.withLock { state in
            let name = Self.prometheusName(label)
            var family =
                state.families[name]
                ?? Family(definition: MetricDefinition(name, kind, labels: dimensions.map { Self.prometheusName($0.0) }, "Told by a library."))
            defer { state.families[name] = family }
            var labels = dimensions.map(\.1)
            if let known = family.series[labels] { return known }
            if family.series.count >= Self.seriesLimit { labels = labels.map { _ in "other" } }
            let made = family.series[labels] ?? MetricSeries(family.definition.kind)
            family.series[labels] = made
            return made
        }
    }

    /// Letters, digits and underscores only.
    private static func prometheusName(_ text: String) -> String {
        let name = String(text.unicodeScalars.map { $0.isASCII && ($0.properties.isAlphabetic || $0.properties.numericType != nil) ? Character($0) : "_" })
        return name.first?.isNumber == true ? "_" + name : name
    }
}
