import Foundation

/// Figures for people.
enum Text {
    /// Three digits that count: 0.213 ms, 12.4 ms, 3.21 s.
    static func milliseconds(_ value: Double) -> String {
        if value >= 999.5 { return digits(value / 1000) + " s" }
        return digits(value) + " ms"
    }

    static func digits(_ value: Double) -> String {
        let size = abs(value)
        if size == 0 { return "0" }
        return String(format: size >= 99.95 ? "%.0f" : size >= 9.995 ? "%.1f" : size >= 0.9995 ? "%.2f" : "%.3f", value)
    }

    /// With commas.
    static func count(_ value: some BinaryInteger) -> String {
        let digits = String(value)
        var text = ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index).isMultiple(of: 3), digit != "-", text != "-" { text += "," }
            text.append(digit)
        }
        return text
    }

    static func rate(_ value: Double) -> String { value >= 99.5 ? count(Int(value.rounded())) : digits(value) }

    static func share(_ value: Double) -> String { String(format: "%.4f", value) }

    /// 100 %, 99.98 %: never rounded up to all.
    static func percent(_ value: Double) -> String {
        if value == 1 { return "100 %" }
        let tenThousandths = (value * 10_000).rounded(.down) / 100
        return String(format: value > 0.9 ? "%.2f %%" : "%.1f %%", tenThousandths)
    }
}
