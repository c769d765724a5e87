import ArgumentParser
import Foundation
import NeedletailClient
import NeedletailJSON

struct ExportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export", abstract: "Save all points as JSON lines, which import reads.",
        discussion: "\"-\" writes to standard output. A file appears under its name once it is whole.")

    @Argument var collection: String
    @Argument(help: "The file to write.") var file: String
    @OptionGroup var readers: ReadFlags
    @OptionGroup var options: ClusterOptions

    func run() async throws {
        try await options.withCluster { cluster in
            let fields = try await cluster.collection(collection, deadline: options.deadline).spec.fields
            let total = try await readers.reading { try await cluster.count(collection, read: readers.read, deadline: options.deadline).count }
            // A pipe or a device is written to as it is; nothing takes its place.
            let part = isStream ? file : file + ".part"
            let handle = try open(part)
            var progress = Progress(isShown: !options.json && file != "-")
            var rows = 0
            let pages = PointsScroll(collection: collection, limit: 500, parts: PointParts(payload: true, vectors: true), read: readers.read)
            for try await page in try await cluster.points(ScrollStream(pages: pages)) {
                var text = ""
                for point in page {
                    text += try PointJSON.line(id: point.id, vectors: point.vectors, payload: point.payload, fields: fields) + "\n"
                }
                try write(text, to: handle)
                rows += page.count
                progress.show(rows: rows, fraction: total == 0 ? 1 : Double(rows) / Double(total))
            }
            progress.end()
            guard file != "-" else { return }
            try finish(handle, part)
            print(
                options.json
                    ? JSONWriter.text(["rows": .count(rows)])
                    : "exported \(rows) rows to \(file) in \(Readable.tenths(progress.seconds)) s")
        }
    }

    /// Whether it is something else than a file, or the name of a file to be.
    private var isStream: Bool {
        var status = stat()
        return file == "-" || (stat(file, &status) == 0 && status.st_mode & S_IFMT != S_IFREG)
    }

    private func open(_ part: String) throws -> FileHandle {
        if file == "-" { return .standardOutput }
        if isStream {
            guard let handle = FileHandle(forWritingAtPath: file) else {
                throw NeedletailError(.failedPrecondition, "cannot write \(file): \(String(cString: strerror(errno)))")
            }
            return handle
        }
        guard FileManager.default.createFile(atPath: part, contents: nil), let handle = FileHandle(forWritingAtPath: part) else {
            throw NeedletailError(.failedPrecondition, "cannot write \(part): \(String(cString: strerror(errno)))")
        }
        return handle
    }

    private func write(_ text: String, to handle: FileHandle) throws {
        do {
            try handle.write(contentsOf: Data(text.utf8))
        } catch {
            throw failed(error)
        }
    }

    private func failed(_ error: any Error) -> NeedletailError {
        let reason = ((error as NSError).userInfo[NSUnderlyingErrorKey] as? NSError).map { String(cString: strerror(Int32($0.code))) }
        return NeedletailError(
            .resourceExhausted, "cannot write \(file == "-" ? "standard output" : file): \(reason ?? error.localizedDescription)", cause: error)
    }

    private func finish(_ handle: FileHandle, _ part: String) throws {
        do {
            if !isStream { try handle.synchronize() }
            try handle.close()
        } catch {
            throw failed(error)
        }
        if isStream { return }
        guard rename(part, file) == 0 else {
            throw NeedletailError(.failedPrecondition, "cannot rename \(part) to \(file): \(String(cString: strerror(errno)))")
        }
    }
}
