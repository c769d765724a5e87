import Foundation
import NeedletailTelemetry

/// A bar with rate and time left, on a terminal only.
struct Progress {
    private let isShown: Bool
    private let start = ContinuousClock.now
    private var last = ContinuousClock.now
    /// Rows that were there before this run.
    private let before: Int
    private let fractionBefore: Double

    init(isShown: Bool, before: Int = 0, fractionBefore: Double = 0) {
        self.isShown = isShown && isatty(STDERR_FILENO) == 1
        self.before = before
        self.fractionBefore = fractionBefore
    }

    var seconds: Double { start.duration(to: .now) / .seconds(1) }

    mutating func show(rows: Int, fraction: Double) {
        guard isShown, last.duration(to: .now) > .milliseconds(200) else { return }
        last = .now
        let rate = Double(rows - before) / max(seconds, 1e-3)
        var text = "\(rows) rows, \(Int(rate)) rows/s"
        if fraction > fractionBefore {
            let filled = min(30, Int(fraction * 30))
            let bar = String(repeating: "#", count: filled) + String(repeating: ".", count: 30 - filled)
            let left = seconds * (1 - fraction) / (fraction - fractionBefore)
            text = "[\(bar)] \(Int(fraction * 100)) %  \(text), \(Readable.duration(left)) left"
        }
        StandardStreams.say("\r\(text)\u{1B}[K")
    }

    func end() { if isShown { StandardStreams.say("\r\u{1B}[K") } }
}
