import Foundation
import NeedletailCore
import Testing

@testable import NeedletailLoad

@Suite struct ReportTests {
    private func whole() throws -> LoadResult {
        let seconds = (0..<8).map { second in (0..<50).map { Double($0 + 1) * (second == 4 ? 10 : 1) } }
        return try result([
            phase("one", [segment(seconds, failed: [4: 3], recall: 0.97)], marks: [FaultMark(name: "kill worker 1", at: 4), FaultMark(name: "<b>", at: 5, problem: "a & b")])
        ])
    }

    /// A page is well-formed when every element is closed in order.
    private func isBalanced(_ page: String) -> Bool {
        let void: Set<String> = ["meta", "!DOCTYPE"]
        var open: [String] = []
        for part in page.split(separator: "<").dropFirst() {
            let inside = part.prefix { $0 != ">" }
            let name = String(inside.drop { $0 == "/" }.prefix { !$0.isWhitespace && $0 != "/" })
            if void.contains(name) || inside.hasSuffix("/") { continue }
            if inside.hasPrefix("/") {
                guard open.popLast() == name else { return false }
            } else {
                open.append(name)
            }
        }
        return open.isEmpty
    }

    @Test func aPageSaysItAllByItself() throws {
        let page = HTMLReport(try whole()).text
        #expect(isBalanced(page))
        for part in ["Test of &lt;reports&gt;", "kill worker 1", "&lt;b&gt;", "a &amp; b", "Latency of searches", "Recall of the answers", "Latency by percentile", "Errors"] {
            #expect(page.contains(part), "\(part)")
        }
        // Nothing from elsewhere, and no scripts.
        for part in ["<script", "http://", "https://", "<b>", "nan", "inf\"", "<link", "<img"] { #expect(!page.contains(part), "\(part)") }
    }

    @Test func nothingMeasuredIsAPageToo() throws {
        for phases in [[], [phase("one", [])], [phase("one", [SegmentResult(rate: 5, seconds: 0, offset: 0)])]] {
            let page = HTMLReport(try result(phases)).text
            #expect(isBalanced(page) && !page.contains("nan"))
        }
    }

    @Test func theVerdictIsInSentences() throws {
        var result = try whole()
        result.interruption = "stopped by SIGINT"
        let sentences = Verdict.sentences(result)
        #expect(sentences[0] == "Ended early: stopped by SIGINT. What follows is of the time until then.")
        #expect(sentences[1].hasPrefix("one: 403 searches, 50.0 answered a second, 3 failed (99.25 % were answered)"))
        #expect(sentences[2].hasPrefix("Kill worker 1 at 4.00 s: 3 of 53 searches failed"))
        #expect(sentences[3].contains("could not be done: a & b"))
    }

    @Test func resultsAreReadBack() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        func write(_ data: Data) throws -> String {
            let file = folder.appendingPathComponent("r.json")
            try data.write(to: file)
            return file.path
        }
        let result = try whole()
        #expect(HTMLReport(try LoadResult.read(file: try write(try result.json))).text == HTMLReport(result).text)
        for (text, said) in [("{}", "no result"), ("{\"format\": 99}", "format 99"), ("{\"format\": 1}", "damaged"), ("x", "no result")] {
            let file = try write(Data(text.utf8))
            let error = #expect(throws: NeedletailError.self) { try LoadResult.read(file: file) }
            #expect(error?.message.contains(said) == true)
        }
        #expect(throws: NeedletailError.self) { try LoadResult.read(file: folder.appendingPathComponent("none").path) }
    }

    @Test func figuresAreForPeople() {
        #expect(Text.milliseconds(0.2134) == "0.213 ms" && Text.milliseconds(12.41) == "12.4 ms" && Text.milliseconds(3210) == "3.21 s")
        #expect(Text.milliseconds(999.9) == "1.00 s" && Text.digits(0) == "0")
        #expect(Text.count(1_234_567) == "1,234,567" && Text.count(12) == "12" && Text.count(-1234) == "-1,234")
        // Never rounded up to all.
        #expect(Text.percent(1) == "100 %" && Text.percent(0.99999) == "99.99 %" && Text.percent(0.5) == "50.0 %")
    }

    @Test func axesHaveRoundTicks() {
        #expect(Chart.Axis.steps(0...10, wanted: 5) == [0, 2, 4, 6, 8, 10])
        #expect(Chart.Axis(title: "", scale: .logarithmic, range: 0.3...40).ticks == [0.5, 1, 2, 5, 10, 20])
        #expect(Chart.Axis(title: "", scale: .tail, range: 0...99.95).ticks == [0, 50, 90, 99, 99.9])
        let axis = Chart.Axis(title: "", scale: .tail, range: 0...99.9)
        #expect(abs(axis.place(90) - 1.0 / 3) < 1e-9 && axis.place(0) == 0 && axis.place(200) == 1)
    }

    @Test func theTerminalHasALine() throws {
        let phase = try whole().phases[0]
        let line = LiveView.line(phase, phase.segments[0], 8)
        #expect(line.hasPrefix("one 8/8 s · 50 of 100 answered/s · p50 25.0 ms · p99 50.0 ms · failed 3 · recall 0.9700"))
    }
}
