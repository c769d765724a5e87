import Foundation

/// The machine that the program runs on, in a line.
enum Machine {
    static var description: String {
        let cores = ProcessInfo.processInfo.activeProcessorCount
        let memory = Double(ProcessInfo.processInfo.physicalMemory) / Double(1 << 30)
        let facts = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
        let model = facts.split(separator: "\n").first { $0.hasPrefix("model name") }?.split(separator: ":").last?
            .trimmingCharacters(in: .whitespaces)
        return
            "\(model ?? "unknown processor"), \(cores) processors, \(Text.digits(memory)) GiB, \(ProcessInfo.processInfo.operatingSystemVersionString)"
    }
}
