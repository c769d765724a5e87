/// Columns of text for people.
struct Table {
    private var rows: [[String]]

    init(_ header: String...) { rows = [header] }

    var isEmpty: Bool { rows.count == 1 }

    mutating func add(_ row: String...) { rows.append(row) }

    func print() {
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        for row in rows {
            let cells = row.enumerated().map { column, text in
                column == row.count - 1 ? text : text + String(repeating: " ", count: widths[column] - text.count)
            }
            Swift.print(cells.joined(separator: "  "))
        }
    }
}

enum Readable {
    static func bytes(_ count: UInt64) -> String {
        var value = Double(count)
        for unit in ["B", "KiB", "MiB", "GiB"] {
            if value < 1024 { return unit == "B" ? "\(count) B" : "\(tenths(value)) \(unit)" }
            value /= 1024
        }
        return "\(tenths(value)) TiB"
    }

    static func tenths(_ value: Double) -> String { "\((value * 10).rounded() / 10)" }

    static func duration(_ seconds: Double) -> String {
        let whole = Int(min(max(0, seconds), 1e9))
        if whole < 60 { return "\(whole) s" }
        if whole < 3600 { return "\(whole / 60) min \(whole % 60) s" }
        return "\(whole / 3600) h \(whole % 3600 / 60) min"
    }
}
