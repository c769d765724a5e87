import Foundation
import NeedletailClient

/// Reads a text file line by line, without holding it.
final class LineReader {
    private let file: UnsafeMutablePointer<FILE>
    private var line: UnsafeMutablePointer<CChar>?
    private var capacity = 0
    private let path: String
    /// Lines read.
    private(set) var lineNumber = 0
    private(set) var bytesRead: UInt64 = 0
    let sizeBytes: UInt64

    /// "-" is standard input.
    init(_ path: String) throws(NeedletailError) {
        self.path = path
        guard let file = path == "-" ? fdopen(STDIN_FILENO, "r") : fopen(path, "r") else {
            throw NeedletailError(.notFound, "cannot read \(path): \(String(cString: strerror(errno)))")
        }
        self.file = file
        sizeBytes = ((try? FileManager.default.attributesOfItem(atPath: path))?[.size] as? NSNumber)?.uint64Value ?? 0
    }

    deinit {
        free(line)
        if path != "-" { fclose(file) }
    }

    /// The next line that is not empty, without its end; nil at the end of the file.
    func next() throws(NeedletailError) -> UnsafeRawBufferPointer? {
        while true {
            let count = getline(&line, &capacity, file)
            guard count >= 0 else {
                if ferror(file) != 0 { throw NeedletailError(.dataLoss, "cannot read \(path) after line \(lineNumber)") }
                return nil
            }
            lineNumber += 1
            bytesRead += UInt64(count)
            var text = UnsafeRawBufferPointer(start: line, count: count)
            while let last = text.last, last == 10 || last == 13 || last == 32 {
                text = UnsafeRawBufferPointer(rebasing: text.dropLast())
            }
            if !text.isEmpty { return text }
        }
    }
}
