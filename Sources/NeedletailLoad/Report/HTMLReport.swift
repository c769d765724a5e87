import Foundation

/// A result as one HTML file that needs nothing else: no scripts, no other files.
public struct HTMLReport {
    let result: LoadResult

    public init(_ result: LoadResult) { self.result = result }

    /// Faults in the order of time, with the numbers that charts refer to.
    var numberedMarks: [(number: Int, phase: PhaseResult, mark: FaultMark)] {
        result.phases.flatMap { phase in phase.marks.map { (phase, $0) } }.enumerated().map { ($0 + 1, $1.0, $1.1) }
    }

    public var text: String {
        let name = HTML.escape(result.scenario.name)
        return """
            <!DOCTYPE html>
            <html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
            <title>\(name)</title><style>\(Self.style)</style></head><body><main>
            <h1>\(name)</h1>
            \(paragraph(result.scenario.about))
            \(verdict)
            <h2>Summary</h2>
            \(summaryTable)
            \(notes)
            \(faultTable)
            <h2>Over time</h2>
            \(latencyCharts)
            \(rateChart)
            \(recallChart)
            <h2>Distribution</h2>
            \(percentileChart)
            \(throughputChart)
            \(stepTable)
            \(errorTable)
            <h2>What was measured, and how</h2>
            \(facts)
            <details><summary>The scenario</summary><pre>\(HTML.escape(result.scenarioText))</pre></details>
            </main></body></html>

            """
    }

    func paragraph(_ text: String) -> String { text.isEmpty ? "" : "<p>\(HTML.escape(text))</p>\n" }

    func figure(_ chart: Chart, _ caption: String) -> String {
        "<figure>\(chart.svg)<figcaption>\(HTML.escape(caption))</figcaption></figure>\n"
    }

    private static let style = """
        :root{--fg:#1c2330;--dim:#5c6675;--bg:#fff;--card:#f6f8fa;--line:#d9dfe6;--band:#f1f4f8;--mark:#b3261e;
        --s0:#1f6feb;--s1:#1a7f5a;--s2:#c2410c;--s3:#7c3aed;--s4:#b7791f;--s5:#0e7490;--s6:#be185d;--s7:#8a94a3}
        @media(prefers-color-scheme:dark){:root{--fg:#e6eaf0;--dim:#9aa5b4;--bg:#12161c;--card:#1a2029;--line:#323b48;--band:#181e27;--mark:#ff7b72;
        --s0:#6cb0ff;--s1:#4cc38a;--s2:#ff9a57;--s3:#b794f6;--s4:#e6b450;--s5:#4fc3d9;--s6:#f48fb1;--s7:#7d8794}}
        body{margin:0;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
        main{max-width:1120px;margin:0 auto;padding:24px 20px 64px}h1{font-size:26px;margin:0 0 6px}h2{font-size:19px;margin:34px 0 8px}
        p{margin:6px 0;max-width:80ch}ul{margin:6px 0;padding-left:22px}
        .verdict{background:var(--card);border-left:4px solid var(--s0);padding:10px 16px;border-radius:4px;margin:14px 0}
        .verdict.bad{border-color:var(--mark)}.wide{overflow-x:auto}table{border-collapse:collapse;font-size:13px;width:100%;font-variant-numeric:tabular-nums}
        th,td{padding:5px 8px;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}th{color:var(--dim);font-weight:600}
        td.n,th.n{text-align:right;white-space:nowrap}figure{margin:14px 0 20px}figcaption{color:var(--dim);font-size:13px;max-width:90ch}
        svg{width:100%;height:auto;display:block}svg text{fill:var(--dim);font-size:11.5px}svg text.heading{fill:var(--fg);font-size:14px;font-weight:600}
        svg text.title{font-size:12px}svg text.small{font-size:10.5px}
        .grid{stroke:var(--line);stroke-width:.7}.axis{stroke:var(--dim);stroke-width:1}
        .band{fill:var(--band)}.line{fill:none;stroke-width:1.8;stroke-linejoin:round}.dashed{stroke-dasharray:6 4}.hollow{fill:var(--bg);stroke-width:1.6}
        .mark{stroke:var(--mark);stroke-width:1.2;stroke-dasharray:3 3}.flag{fill:var(--mark)}svg text.flagtext{fill:var(--bg);font-size:10.5px;font-weight:700}
        .limit{stroke:var(--fg);stroke-width:1;stroke-dasharray:2 3}pre{background:var(--card);padding:12px;overflow-x:auto;font-size:12.5px}
        details{margin-top:10px}td:nth-child(-n+2){white-space:nowrap}
        """ + (0..<8).map { ".line.s\($0),.hollow.s\($0){stroke:var(--s\($0))}.dot.s\($0){fill:var(--s\($0))}" }.joined()
}
