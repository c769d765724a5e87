import Foundation

/// A line chart as SVG. Colours are classes of the page that it stands in: `s0` … `s7` for series.
struct Chart {
    enum Scale {
        case linear, logarithmic
        /// Of percentiles: equal distances for 90, 99, 99.9, …
        case tail
    }

    struct Axis {
        var title: String
        var scale = Scale.linear
        var range: ClosedRange<Double>
        var format: (Double) -> String = Text.digits

        /// 0 … 1.
        func place(_ value: Double) -> Double {
            let (low, high) = (position(range.lowerBound), position(range.upperBound))
            return high > low ? (position(min(max(value, range.lowerBound), range.upperBound)) - low) / (high - low) : 0.5
        }

        private func position(_ value: Double) -> Double {
            switch scale {
            case .linear: value
            case .logarithmic: log10(max(value, 1e-12))
            case .tail: -log10(max(1e-9, 1 - value / 100))
            }
        }

        var ticks: [Double] {
            switch scale {
            case .tail: [0, 50, 90, 99, 99.9, 99.99, 99.999].filter { range.contains($0) }
            case .logarithmic:
                Self.powers(range)
            case .linear: Self.steps(range, wanted: 7)
            }
        }

        private static func powers(_ range: ClosedRange<Double>) -> [Double] {
            let (low, high) = (Int(log10(range.lowerBound).rounded(.down)), Int(log10(range.upperBound).rounded(.up)))
            let factors: [Double] = high - low > 3 ? [1] : [1, 2, 5]
            let ticks = (low...high).flatMap { power in factors.map { $0 * pow(10, Double(power)) } }
            return ticks.filter { $0 >= range.lowerBound * 0.999 && $0 <= range.upperBound * 1.001 }
        }

        static func steps(_ range: ClosedRange<Double>, wanted: Int) -> [Double] {
            let length = range.upperBound - range.lowerBound
            guard length > 0 else { return [range.lowerBound] }
            let rough = length / Double(wanted)
            let power = pow(10, log10(rough).rounded(.down))
            let step = ([1, 2, 5, 10].first { $0 * power >= rough } ?? 10) * power
            let first = (range.lowerBound / step - 1e-9).rounded(.up)
            let last = (range.upperBound / step + 1e-9).rounded(.down)
            return first > last ? [] : stride(from: first, through: last, by: 1).map { $0 * step }
        }
    }

    struct Series {
        var name: String
        /// Lines; a gap lies between two.
        var lines: [[(x: Double, y: Double)]]
        /// Class of its colour.
        var colour: String
        var isDashed = false
        var isDots = false
        /// Dots that are not filled.
        var hollow: [(x: Double, y: Double)] = []
        /// No line in the legend.
        var isUnnamed = false
    }

    var title: String
    var x: Axis
    var y: Axis
    var series: [Series]
    /// Vertical lines with the number that they have in the table of faults, and, where there is room, their names.
    var marks: [(x: Double, label: String, name: String)] = []
    /// Shaded alternately, with names.
    var bands: [(range: ClosedRange<Double>, name: String)] = []
    /// A horizontal line.
    var limit: (y: Double, label: String)?

    private static let (width, height) = (960.0, 300.0)
    private static let (left, right, top, bottom) = (64.0, 16.0, 46.0, 44.0)
    private var plotWidth: Double { Self.width - Self.left - Self.right }
    private var plotHeight: Double { Self.height - Self.top - Self.bottom }

    private func px(_ value: Double) -> Double { Self.left + x.place(value) * plotWidth }
    private func py(_ value: Double) -> Double { Self.top + (1 - y.place(value)) * plotHeight }
    private func n(_ value: Double) -> String { String(format: "%.1f", value) }

    var svg: String {
        var out = "<svg viewBox=\"0 0 \(n(Self.width)) \(n(Self.height))\" role=\"img\" aria-label=\"\(HTML.escape(title))\">\n"
        out += bandShapes + grid
        if let limit {
            out += line(Self.left, py(limit.y), Self.width - Self.right, py(limit.y), "limit")
            out += label(limit.label, Self.left + 6, py(limit.y) - 4, "start", "small")
        }
        for one in series { out += shapes(one) }
        out += markShapes + legend
        return out + "</svg>\n"
    }

    private func line(_ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, _ name: String) -> String {
        "<line class=\"\(name)\" x1=\"\(n(x1))\" y1=\"\(n(y1))\" x2=\"\(n(x2))\" y2=\"\(n(y2))\"/>\n"
    }

    private func label(_ text: String, _ x: Double, _ y: Double, _ anchor: String, _ name: String = "") -> String {
        "<text class=\"\(name)\" x=\"\(n(x))\" y=\"\(n(y))\" text-anchor=\"\(anchor)\">\(HTML.escape(text))</text>\n"
    }

    private var grid: String {
        var out = ""
        for tick in y.ticks {
            out +=
                line(Self.left, py(tick), Self.width - Self.right, py(tick), "grid")
                + label(y.format(tick), Self.left - 6, py(tick) + 4, "end")
        }
        for tick in x.ticks {
            out += line(px(tick), Self.height - Self.bottom, px(tick), Self.height - Self.bottom + 4, "axis")
            out += label(x.format(tick), px(tick), Self.height - Self.bottom + 17, "middle")
        }
        out += line(Self.left, Self.height - Self.bottom, Self.width - Self.right, Self.height - Self.bottom, "axis")
        out += label(x.title, Self.left + plotWidth / 2, Self.height - 8, "middle", "title")
        let middle = Self.top + plotHeight / 2
        return out
            + "<text class=\"title\" transform=\"translate(14 \(n(middle))) rotate(-90)\" text-anchor=\"middle\">\(HTML.escape(y.title))</text>\n"
    }

    private var bandShapes: String {
        var out = ""
        for (number, band) in bands.enumerated() {
            let (from, to) = (px(band.range.lowerBound), px(band.range.upperBound))
            if number.isMultiple(of: 2) {
                out +=
                    "<rect class=\"band\" x=\"\(n(from))\" y=\"\(n(Self.top))\" width=\"\(n(max(0, to - from)))\" height=\"\(n(plotHeight))\"/>\n"
            }
            let room = Int((to - from) / 6.2)
            if room >= 3 {
                let text = band.name.count <= room ? band.name : band.name.prefix(room - 1) + "…"
                out += label(text, (from + to) / 2, Self.top + plotHeight - 6, "middle", "small")
            }
        }
        return out
    }

    private func shapes(_ one: Series) -> String {
        var out = ""
        for points in one.lines where !points.isEmpty {
            // A line of one point would not be seen.
            if one.isDots || points.count == 1 {
                for point in points {
                    out += "<circle class=\"dot \(one.colour)\" cx=\"\(n(px(point.x)))\" cy=\"\(n(py(point.y)))\" r=\"3.5\"/>\n"
                }
            }
            if !one.isDots {
                let path = points.map { "\(n(px($0.x))),\(n(py($0.y)))" }.joined(separator: " ")
                out += "<polyline class=\"line \(one.colour)\(one.isDashed ? " dashed" : "")\" points=\"\(path)\"/>\n"
            }
        }
        for point in one.hollow {
            out += "<circle class=\"hollow \(one.colour)\" cx=\"\(n(px(point.x)))\" cy=\"\(n(py(point.y)))\" r=\"3.5\"/>\n"
        }
        return out
    }

    private var markShapes: String {
        var out = ""
        var last = -Double.infinity
        var row = 0.0
        for (number, mark) in marks.enumerated() {
            let place = px(mark.x)
            // Labels that would overlap go below one another.
            row = place - last < 20 ? row + 1 : 0
            last = place
            let y = Self.top + 8 + row * 17
            out += line(place, Self.top, place, Self.height - Self.bottom, "mark")
            out += "<circle class=\"flag\" cx=\"\(n(place))\" cy=\"\(n(y))\" r=\"8\"/>\n"
            out += label(mark.label, place, y + 4, "middle", "flagtext")
            let next = number + 1 < marks.count ? px(marks[number + 1].x) : Self.width - Self.right
            if Double(mark.name.count) * 6 + 24 < next - place { out += label(mark.name, place + 12, y + 4, "start", "small") }
        }
        return out
    }

    private var legend: String {
        var out = label(title, Self.left, 16, "start", "heading")
        var x = Self.left
        for one in series where !one.isUnnamed {
            if one.isDots {
                out += "<circle class=\"dot \(one.colour)\" cx=\"\(n(x + 9))\" cy=\"32\" r=\"3.5\"/>\n"
            } else {
                out +=
                    "<line class=\"line \(one.colour)\(one.isDashed ? " dashed" : "")\" x1=\"\(n(x))\" y1=\"32\" x2=\"\(n(x + 18))\" y2=\"32\"/>\n"
            }
            out += label(one.name, x + 23, 36, "start")
            x += 23 + Double(one.name.count) * 6.7 + 16
        }
        return out
    }
}

enum HTML {
    static func escape(_ text: some StringProtocol) -> String {
        var out = ""
        for character in text {
            switch character {
            case "&": out += "&amp;"
            case "<": out += "&lt;"
            case ">": out += "&gt;"
            case "\"": out += "&quot;"
            default: out.append(character)
            }
        }
        return out
    }

    static func table(_ heads: [String], _ rows: [[String]], numbersFrom first: Int = 1) -> String {
        let head = heads.enumerated().map { "<th\($0 >= first ? " class=\"n\"" : "")>\(escape($1))</th>" }.joined()
        let body = rows.map { row in
            "<tr>" + row.enumerated().map { "<td\($0 >= first ? " class=\"n\"" : "")>\(escape($1))</td>" }.joined() + "</tr>"
        }
        return
            "<div class=\"wide\"><table><thead><tr>\(head)</tr></thead><tbody>\n\(body.joined(separator: "\n"))\n</tbody></table></div>\n"
    }
}
