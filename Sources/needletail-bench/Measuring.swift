import Foundation

/// The middle value; 0 for none.
func median(_ values: [Double]) -> Double { values.isEmpty ? 0 : values.sorted()[values.count / 2] }

/// Seconds that `body` takes.
func timed(_ body: () throws -> Void) rethrows -> Double {
    let begin = ContinuousClock.now
    try body()
    let taken = begin.duration(to: .now).components
    return Double(taken.seconds) + Double(taken.attoseconds) / 1e18
}

/// Prints one JSON object; values are written as they are.
func emit(_ entries: [(String, String)]) {
    print("{" + entries.map { "\"\($0.0)\": \($0.1)" }.joined(separator: ", ") + "}")
    fflush(nil)
}
