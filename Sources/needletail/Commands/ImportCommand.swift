import ArgumentParser
import Foundation
import NeedletailClient
import NeedletailJSON

struct ImportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import", abstract: "Load points from a file.",
        discussion: """
            Files, by their ending:
              .jsonl (or anything else)    {"id": 1, "vectors": {"text": [..]}, "payload": {..}} a line;
                                           "vector": [..] is the vector of --field; "-" reads standard input
              .fbin .f16bin .u8bin .i8bin  rows and dimensions as 32-bit numbers, then the rows
              .fvecs                       float32 rows, each behind its dimensions as a 32-bit number
              .npy                         a two-dimensional array of f4, f2, u1, i1 or f8

            Rows of files of vectors get the ids 0, 1, 2 ... unless --first-id or --ids-from says otherwise. Points that are there
            already are replaced, so an import may simply be run again. One that broke off goes on with --resume.
            """)

    @Argument var collection: String
    @Argument(help: "The file to read.") var file: String
    @Option(help: "The field vectors go to; needed when the collection has several.") var field = ""
    @Option(help: "The id of row 0 of a file of vectors.") var firstID: UInt64 = 0
    @Option(help: ArgumentHelp("Ids of the rows: one a line, or a .npy of whole numbers.", valueName: "file")) var idsFrom: String?
    @Option(help: ArgumentHelp("Payloads of the rows: a JSON object a line.", valueName: "file")) var payloadJsonl: String?
    @Flag(help: "Go on where an import of this file broke off.") var resume = false
    @OptionGroup var options: ClusterOptions

    /// Rows between two acknowledgements, and so what a break costs at most.
    private static let segmentRows = 50_000

    func validate() throws {
        if !VectorFile.isOne(file), idsFrom != nil || payloadJsonl != nil {
            throw ValidationError(
                "--ids-from and --payload-jsonl go with files of vectors; JSON lines carry their ids and payloads.")
        }
        if resume, file == "-" { throw ValidationError("--resume needs a file; standard input cannot be read again.") }
    }

    func run() async throws {
        try await options.withCluster { cluster in
            let info = try await cluster.collection(collection, deadline: options.deadline)
            let fields = info.spec.fields
            let source = try open(fields)
            var done = 0
            if resume, let checkpoint = try ImportCheckpoint.load(
                source: file, collection: collection, incarnation: info.incarnation.description, options: rowOptions) {
                done = checkpoint.rows
                try source.skip(done)
            }
            let before = done
            var progress = Progress(isShown: !options.json, before: done, fractionBefore: source.fraction)
            do {
                try await send(source, cluster, info, &done, &progress)
            } catch let error as NeedletailError {
                progress.end()
                let advice = file != "-" && done > 0 ? "; \(done) rows are in, go on with --resume" : ""
                throw NeedletailError(error.code, error.message + advice, cause: error)
            }
            progress.end()
            ImportCheckpoint.remove(source: file)
            report(done - before, progress.seconds)
        }
    }

    private var rowOptions: String { "field \(field), first id \(firstID), ids \(idsFrom ?? ""), payloads \(payloadJsonl ?? "")" }

    private func open(_ fields: [VectorField]) throws -> any RowSource {
        if !field.isEmpty, !fields.contains(where: { $0.name == field }) {
            throw NeedletailError(
                .invalidArgument,
                "collection \(collection) has no field \(field); it has \(fields.map(\.name).joined(separator: ", "))")
        }
        guard VectorFile.isOne(file) else { return try JSONLinesSource(file, field: field, fields: fields) }
        if field.isEmpty, fields.count > 1 {
            throw NeedletailError(
                .invalidArgument, "say which field: --field \(fields.map(\.name).joined(separator: " or --field "))")
        }
        return try VectorFileSource(file, field: field, fields: fields, idsFrom: idsFrom, firstID: firstID, payloads: payloadJsonl)
    }

    /// Rows go out in streams of some ten thousand: a stream keeps several writes in flight and their order, and its end acknowledges
    /// them all.
    private func send(_ source: any RowSource, _ cluster: RemoteCluster, _ info: CollectionInfo, _ done: inout Int, _ progress: inout Progress) async throws
    {
        var batch = try source.next()
        var underway = SentPoints(file: file, placeName: source.placeName)
        while batch != nil {
            let writer = try await cluster.upsertStream(collection: collection)
            var sent = 0
            do {
                while let next = batch, sent < Self.segmentRows {
                    underway.add(next)
                    switch next.content {
                    case .operations(let operations): try await writer.send(operations)
                    case .packed(let rows): try await writer.send(rows)
                    }
                    sent += next.count
                    progress.show(rows: done + sent, fraction: source.fraction)
                    batch = try source.next()
                }
                _ = try await writer.finish()
            } catch let error as NeedletailError {
                throw underway.locate(error)
            }
            underway.acknowledged()
            done += sent
            guard file != "-" else { continue }
            try ImportCheckpoint(
                collection: collection, incarnation: info.incarnation.description, options: rowOptions, rows: done,
                sourceBytes: ImportCheckpoint.size(of: file), sourceModified: ImportCheckpoint.modified(file)
            ).save(
                source: file)
        }
    }

    private func report(_ rows: Int, _ seconds: Double) {
        let rate = Double(rows) / max(seconds, 1e-6)
        if options.json {
            return print(
                JSONWriter.text(["rows": .count(rows), "seconds": .double(seconds), "rows_per_second": .double(rate.rounded())]))
        }
        print("imported \(rows) rows in \(Readable.tenths(seconds)) s (\(Int(rate)) rows/s)")
    }
}
