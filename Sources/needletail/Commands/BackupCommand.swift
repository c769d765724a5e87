import ArgumentParser
import Foundation
import NeedletailClient
import NeedletailJSON

struct BackupCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup", abstract: "Back collections up, and restore them, here or in another cluster.",
        discussion: """
            A TARGET is where backups lie:
              file:///mnt/backups           a folder that every coordinator and shard worker reaches under this path
              s3://bucket/prefix            S3 or a service like it; the environment of every coordinator and shard worker has
                                            AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and, unless it is Amazon's, AWS_ENDPOINT_URL
            One cluster writes to a target; any cluster restores from it. A second backup sends only what has changed.

            The work goes on when this command is interrupted: `backup operations` shows how far it is, `backup cancel` ends it.

            Example: needletail backup create books file:///mnt/backups --name monday
            Example: needletail backup restore file:///mnt/backups monday --as books2 --shards 4
            """,
        subcommands: [Create.self, List.self, Restore.self, Verify.self, Delete.self, Operations.self, Cancel.self])

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Back a collection up.",
            discussion: """
                The backup is of one moment: whatever was acknowledged before a write that is in it is in it too, on all shards. For that
                moment writes are held back, for some milliseconds.
                """)
        @Argument var collection: String
        @Argument(help: "file:///folder or s3://bucket/prefix") var target: String
        @Option(help: "The backup's name; the collection's with the time when left out.") var name = ""
        @OptionGroup var wait: WaitOptions
        @OptionGroup var options: ClusterOptions

        func run() async throws {
            try await options.withCluster { cluster in
                let begun = try await cluster.createBackup(BackupOrder(collection: collection, target: target, name: name), deadline: options.deadline)
                guard let ended = try await wait.end(of: begun, cluster, options) else { return }
                let held = Readable.tenths(Double(ended.heldMicroseconds) / 1000)
                let (all, new) = (Readable.bytes(ended.bytes), Readable.bytes(ended.newBytes))
                print("backed up \(collection) as \(ended.name): \(all), of which \(new) were new; writes were held for \(held) ms")
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the backups in a target.")
        @Argument var target: String
        @OptionGroup var options: ClusterOptions

        func run() async throws {
            try await options.withCluster { cluster in
                let backups = try await cluster.backups(in: target, deadline: options.deadline)
                if options.json { return print(JSONWriter.text(.list(backups.map(\.json)))) }
                if backups.isEmpty { return print("no backups there yet; make one with: needletail backup create COLLECTION \(target)") }
                var table = Table("NAME", "COLLECTION", "TIME (UTC)", "SHARDS", "SIZE", "NEW", "VERSION")
                for backup in backups {
                    if backup.problem.isEmpty {
                        table.add(
                            backup.name, backup.collection, backup.time, "\(backup.shards)", Readable.bytes(backup.bytes), Readable.bytes(backup.newBytes),
                            backup.software)
                    } else {
                        table.add(backup.name, backup.problem, "", "", "", "", "")
                    }
                }
                table.print()
            }
        }
    }

    struct Restore: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a collection from a backup.",
            discussion: """
                The collection is visible when it is complete. With as many shards as the backup has its files are copied; with another number
                every point is written anew, which takes about as long as importing them.
                """)
        @Argument var target: String
        @Argument(help: "The backup's name.") var name: String
        @Option(name: .customLong("as"), help: "The new collection's name; as it was when left out.") var collection = ""
        @Option(help: "Shards of the new collection; as many as it had when left out.") var shards = 0
        @Option(help: "Copies of each shard; as many as it had when left out.") var replicas = 0
        @OptionGroup var wait: WaitOptions
        @OptionGroup var options: ClusterOptions

        func validate() throws {
            if shards < 0 || replicas < 0 { throw ValidationError("--shards and --replicas are numbers from 1 on.") }
        }

        func run() async throws {
            try await options.withCluster { cluster in
                let order = RestoreOrder(target: target, name: name, collection: collection, shardCount: shards, replicationFactor: replicas)
                let begun = try await cluster.restoreBackup(order, deadline: options.deadline)
                guard let ended = try await wait.end(of: begun, cluster, options) else { return }
                print("restored \(name) as collection \(ended.collection)")
            }
        }
    }

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Read a backup as a whole and check every byte.")
        @Argument var target: String
        @Argument(help: "The backup's name.") var name: String
        @OptionGroup var options: ClusterOptions

        func run() async throws {
            try await options.withCluster { cluster in
                // Reading takes as long as it takes.
                let found = try await cluster.verifyBackup(name, in: target, deadline: nil)
                if options.json {
                    print(
                        JSONWriter.text([
                            "objects": .count(found.objects), "bytes": .count(found.bytes), "problems": .list(found.problems.map { .string($0) }),
                        ]))
                } else if found.problems.isEmpty {
                    print("backup \(name) is whole: \(found.objects) objects, \(Readable.bytes(found.bytes))")
                }
                guard found.problems.isEmpty else {
                    throw NeedletailError(.dataLoss, "backup \(name) is damaged:\n" + found.problems.joined(separator: "\n"))
                }
            }
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Delete a backup, and what no other backup in the target needs.")
        @Argument var target: String
        @Argument(help: "The backup's name.") var name: String
        @OptionGroup var wait: WaitOptions
        @OptionGroup var options: ClusterOptions

        func run() async throws {
            try await options.withCluster { cluster in
                let begun = try await cluster.deleteBackup(name, in: target, deadline: options.deadline)
                guard let ended = try await wait.end(of: begun, cluster, options) else { return }
                print("deleted backup \(name): \(Readable.bytes(ended.bytes)) were freed")
            }
        }
    }

    struct Operations: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show backups, restores and deletions under way, and those that ended lately.")
        @OptionGroup var options: ClusterOptions

        func run() async throws {
            try await options.withCluster { cluster in
                let operations = try await cluster.backupOperations(deadline: options.deadline)
                if options.json { return print(JSONWriter.text(.list(operations.map(\.json)))) }
                if operations.isEmpty { return print("no backups, restores or deletions lately") }
                var table = Table("OPERATION", "KIND", "BACKUP", "COLLECTION", "STEP", "PROGRESS", "PROBLEM")
                for one in operations {
                    table.add(one.idText, one.kindText, one.name, one.collection, one.step, one.total == 0 ? "" : "\(one.progress)/\(one.total)", one.problem)
                }
                table.print()
            }
        }
    }

    struct Cancel: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "End a backup or a restore; what a restore made is removed.")
        @Argument(help: "Its id, as `backup operations` shows it.") var operation: String
        @OptionGroup var wait: WaitOptions
        @OptionGroup var options: ClusterOptions

        func validate() throws {
            if UInt64(operation, radix: 16) == nil { throw ValidationError("\"\(operation)\" is no operation: it has 16 hexadecimal digits.") }
        }

        func run() async throws {
            try await options.withCluster { cluster in
                let asked = try await cluster.cancelBackupOperation(UInt64(operation, radix: 16) ?? 0, deadline: options.deadline)
                guard let ended = try await wait.end(of: asked, cluster, options, isCancelling: true) else { return }
                print(ended.step == "cancelled" ? "cancelled" : "it was \(ended.step) before it could be cancelled")
            }
        }
    }
}

/// Waiting for an operation to end.
struct WaitOptions: ParsableArguments {
    @Flag(help: "Return at once; `backup operations` shows how far it is.") var noWait = false

    private static let pause = Duration.milliseconds(100)
    /// For so long the cluster may not answer.
    private static let patience = Duration.seconds(60)

    /// Waits, and prints JSON if that is wanted.
    /// - Returns: the operation for which something is to be said to people.
    /// - Throws: why it failed, or that it was cancelled.
    func end(
        of begun: BackupOperationInfo, _ cluster: RemoteCluster, _ options: ClusterOptions, isCancelling: Bool = false
    ) async throws -> BackupOperationInfo? {
        if noWait {
            print(options.json ? JSONWriter.text(begun.json) : "operation \(begun.idText) has begun; `needletail backup operations` shows how far it is")
            return nil
        }
        var (current, answered) = (begun, ContinuousClock.now)
        while !current.hasEnded {
            try await Task.sleep(for: Self.pause)
            do {
                guard let found = try await cluster.backupOperations(deadline: options.deadline).first(where: { $0.id == begun.id }) else {
                    throw NeedletailError(.notFound, "operation \(begun.idText) is not known any more; see `needletail backup list`")
                }
                (current, answered) = (found, .now)
            } catch let error as NeedletailError where [.unavailable, .deadlineExceeded, .aborted, .cancelled].contains(error.code) {
                // Another coordinator is about to lead.
                guard answered.duration(to: .now) < Self.patience else { throw error }
            }
        }
        if options.json { print(JSONWriter.text(current.json)) }
        if current.step == "failed" { throw NeedletailError(current.failure ?? .unknown, current.problem) }
        if current.step == "cancelled", !isCancelling { throw NeedletailError(.cancelled, "the operation was cancelled") }
        return options.json ? nil : current
    }
}

extension BackupOperationInfo {
    var idText: String { Self.hexadecimal(id) }

    private static func hexadecimal(_ value: UInt64) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    var kindText: String {
        switch kind {
        case .backup: "backup"
        case .restore: "restore"
        case .deletion: "deletion"
        }
    }

    var json: PayloadValue {
        .map([
            "id": .string(idText), "kind": .string(kindText), "target": .string(target), "name": .string(name), "collection": .string(collection),
            "step": .string(step), "ended": .bool(hasEnded), "problem": .string(problem), "progress": .count(progress), "total": .count(total),
            "bytes": .count(bytes), "new_bytes": .count(newBytes), "held_microseconds": .count(heldMicroseconds),
            "created_milliseconds": .integer(createdMilliseconds), "changed_milliseconds": .integer(changedMilliseconds),
        ])
    }
}

extension BackupInfo {
    fileprivate var time: String {
        let formatter = DateFormatter()
        formatter.timeZone = TimeZone(identifier: "UTC")
        formatter.dateFormat = "yyyy-MM-dd HH:mm:ss"
        return formatter.string(from: Date(timeIntervalSince1970: Double(createdMilliseconds) / 1000))
    }

    fileprivate var json: PayloadValue {
        .map([
            "name": .string(name), "collection": .string(collection), "shards": .count(shards), "created_milliseconds": .integer(createdMilliseconds),
            "bytes": .count(bytes), "new_bytes": .count(newBytes), "software": .string(software), "held_microseconds": .count(heldMicroseconds),
            "problem": .string(problem),
        ])
    }
}
