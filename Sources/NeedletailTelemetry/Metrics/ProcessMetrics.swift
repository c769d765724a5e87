internal import Foundation
internal import NeedletailCore

/// What every process tells of itself, under the names that Prometheus' own libraries use.
public enum ProcessMetrics {
    public static func register(_ registry: MetricsRegistry) {
        let started = Date().timeIntervalSince1970
        registry.onCollect { report in
            report.add(.buildInfo, [NeedletailVersion.current], 1)
            report.add(.processStart, [], started)
            guard let status = fields("/proc/self/stat") else { return }
            // Fields 14, 15 and 24 of proc(5), counted from the state, which is the third.
            let ticks = (Double(status[11]) ?? 0) + (Double(status[12]) ?? 0)
            report.add(.processCPU, [], ticks / Double(sysconf(Int32(_SC_CLK_TCK))))
            report.add(.processMemory, [], (Double(status[21]) ?? 0) * Double(sysconf(Int32(_SC_PAGESIZE))))
            report.add(.processThreads, [], Double(status[17]) ?? 0)
            if let open = try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd") { report.add(.processFiles, [], open.count) }
        }
    }

    /// What follows the name of the program, which may hold spaces.
    private static func fields(_ path: String) -> [Substring]? {
        guard let text = try? String(contentsOfFile: path, encoding: .utf8), let end = text.lastIndex(of: ")") else { return nil }
        let fields = text[text.index(after: end)...].split(separator: " ")
        return fields.count > 21 ? fields : nil
    }
}
