import Foundation

/// Whoever started this process and is to outlive it.
public enum ParentProcess {
    /// Asks this process to stop, as SIGTERM does, once its standard input ends: its other end closes with the process that holds it, however
    /// that ends.
    public static func stopWithInput() {
        Thread.detachNewThread {
            var byte: UInt8 = 0
            while true {
                let count = unsafe read(STDIN_FILENO, &byte, 1)
                if count == 0 || (count < 0 && errno != EINTR) { break }
            }
            kill(getpid(), SIGTERM)
        }
    }
}
