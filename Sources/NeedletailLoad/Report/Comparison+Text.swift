import Foundation

extension Comparison {
    /// A table for the terminal.
    public var text: String {
        var table = [["phase", "requests", "figure", "A", "B", "B against A", "95 % interval", ""]]
        for row in rows {
            let change = row.isRatio ? String(format: "× %.3f", row.change) : String(format: "%+.4f", row.change)
            let interval = row.interval.map { range in
                row.isRatio
                    ? String(format: "%.3f … %.3f", range.lowerBound, range.upperBound)
                    : String(format: "%+.4f … %+.4f", range.lowerBound, range.upperBound)
            }
            table.append([
                row.phase, row.kind.isEmpty ? "" : HTMLReport.plural(row.kind), row.figure,
                Self.value(row.first, row.figure), Self.value(row.second, row.figure), change, interval ?? "–", row.figure == "highest rate" ? "" : row.verdict,
            ])
        }
        let widths = (0..<table[0].count).map { column in table.map { $0[column].count }.max() ?? 0 }
        var lines = table.map { row in
            zip(row, widths).map { $0.padding(toLength: $1, withPad: " ", startingAt: 0) }.joined(separator: "  ").trimmingSuffix { $0 == " " }
        }
        if !unmatched.isEmpty { lines.append("\nOnly one has: \(unmatched.joined(separator: ", "))") }
        return lines.joined(separator: "\n")
    }

    private static func value(_ value: Double, _ figure: String) -> String {
        if figure.hasPrefix("p") { return Text.milliseconds(value) }
        return figure == "recall" || figure.hasPrefix("failed") ? Text.share(value) : Text.rate(value)
    }
}

extension String {
    fileprivate func trimmingSuffix(while isTrimmed: (Character) -> Bool) -> String {
        var text = self
        while let last = text.last, isTrimmed(last) { text.removeLast() }
        return text
    }
}
