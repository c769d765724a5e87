import Foundation
import Synchronization

/// What a run shows on the terminal meanwhile. On a terminal the last line is rewritten each second; elsewhere there is a line every five.
public final class LiveView: Sendable {
    private let isTerminal: Bool
    private let write: @Sendable (String) -> Void
    private struct State {
        var hasLine = false
        var lastLine = -Double.infinity
        var phase = -1
    }
    private let state = Mutex(State())

    /// - Parameter write: takes text as it is.
    public init(isTerminal: Bool, write: @escaping @Sendable (String) -> Void) {
        self.isTerminal = isTerminal
        self.write = write
    }

    public func show(_ progress: Conductor.Progress) {
        switch progress {
        case .says(let text): say(text)
        case .fault(let mark): say("\(Text.digits(mark.at)) s: \(mark.name)")
        case .measured(let phase, let segment, let elapsed): measured(phase, segment, elapsed)
        case .ended: endLine()
        }
    }

    private func say(_ text: String) {
        endLine()
        write(text + "\n")
    }

    private func endLine() {
        let hadLine = state.withLock { state in
            defer { state.hasLine = false }
            return state.hasLine
        }
        if hadLine { write("\n") }
    }

    private func measured(_ phase: PhaseResult, _ segment: SegmentResult, _ elapsed: Double) {
        let line = Self.line(phase, segment, elapsed)
        let isDue = state.withLock { state in
            let isDue = isTerminal || elapsed - state.lastLine >= 4.5 || elapsed < state.lastLine || state.phase != phase.phase
            if isDue { (state.lastLine, state.phase) = (elapsed, phase.phase) }
            state.hasLine = state.hasLine || isTerminal
            return isDue
        }
        guard isDue else { return }
        // Without wrapping, so that a long line is cut and not left behind in part.
        write(isTerminal ? "\r\u{1b}[?7l\u{1b}[K\(line)\u{1b}[?7h" : line + "\n")
    }

    /// The last whole second beside what came so far.
    static func line(_ phase: PhaseResult, _ segment: SegmentResult, _ elapsed: Double) -> String {
        let now =
            segment.slices.last { Double($0.second) + 1 <= elapsed && $0.all.ended > 0 } ?? segment.slices.last ?? Slice(second: 0)
        let (last, total) = (now.all, segment.slices.total())
        let asked = segment.rate.map { " of \(Text.rate($0))" } ?? ""
        let length = segment.seconds > 0 ? "/\(ScenarioKey.plain(segment.seconds))" : ""
        var parts = [
            "\(phase.name) \(Int(elapsed))\(length) s", "\(Text.count(last.completed))\(asked) answered/s",
            "p50 \(Text.milliseconds(Double(last.latency.value(at: 50)) / 1000))",
            "p99 \(Text.milliseconds(Double(last.latency.value(at: 99)) / 1000))",
            "failed \(Text.count(total.failures))",
        ]
        if total.wanted > 0 { parts.append("recall \(Text.share(Double(total.right) / Double(total.wanted)))") }
        if last.points > 0 { parts.append("\(Text.count(last.points)) points/s") }
        if total.stale > 0 { parts.append("stale \(Text.count(total.stale))") }
        return parts.joined(separator: " · ")
    }
}
