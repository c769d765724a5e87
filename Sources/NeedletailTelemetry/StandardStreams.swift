import Foundation
public import NeedletailCore

/// Standard output and error of a command. Neither may crash it: a pipe's reader may have gone, a disk may be full.
public enum StandardStreams {
    /// Writes to standard error. What cannot be written is lost: there is nowhere to say so.
    public static func say(_ text: String) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = unsafe rest.withUnsafeBytes { unsafe write(STDERR_FILENO, $0.baseAddress, $0.count) }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }

    /// To be called when everything was printed: what stays in buffers until the process ends would fail unseen.
    /// - Throws: `resourceExhausted` when standard output does not take it.
    public static func finish() throws(NeedletailError) {
        guard fflush(nil) != 0 else { return }
        let reason = unsafe String(cString: strerror(errno))
        throw NeedletailError(.resourceExhausted, "the output cannot be written: \(reason)")
    }
}
