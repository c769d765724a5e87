import ArgumentParser
import Foundation
import NeedletailClient
import NeedletailJSON

struct AccessCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "access", abstract: "Make, list and revoke API keys.",
        discussion: """
            Needs a key that grants cluster:admin, in NEEDLETAIL_API_KEY or --api-key-file: the administrator's, to begin with.

            A grant is ROLE:COLLECTION or cluster:ROLE. Roles are read, write and admin; a collection is a name, or the beginning of names and an asterisk.

            Example: needletail access keys create reader --grant read:books --out reader.key
            Example: needletail access keys create shop --grant write:orders --filter '{"tenant": "shop"}' --expires 90d --rate 100
            """,
        subcommands: [Keys.self, WhoAmI.self])

    struct Keys: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "API keys.", subcommands: [Create.self, List.self, Revoke.self])
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a key; it is shown this once.",
            discussion: "A key with a filter sees and changes only points whose payload has one of the values named under every key named.")
        @Argument(help: "A name, for people.") var name: String
        @Option(help: "What it may do; repeat for more.") var grant: [String]
        @Option(help: "JSON as {\"tenant\": \"shop\", \"region\": [\"eu\", \"us\"]}.") var filter: String?
        @Option(help: "Until when, from now: as 12h or 90d; for ever when left out.") var expires: String?
        @Option(help: "Requests a second.") var rate: Double?
        @Option(help: "Bytes of a request.") var maxBytes: Int?
        @Option(help: "Points, ids or queries of a request.") var maxBatch: Int?
        @Option(help: "Breadth (ef) of a search.") var maxEf: Int?
        @Option(help: "Points of an answer to a query.") var maxResults: Int?
        @Option(help: "Write the key to this new file, which only its owner reads, instead of printing it.") var out: String?
        @OptionGroup var options: ClusterOptions

        func run() async throws {
            let order = CallerInfo(
                name: name, grants: try grant.map { try Grant(text: $0) }, filter: try filter.map(PayloadFilter.init(json:)),
                limits: try RequestLimits(requestsPerSecond: rate, requestBytes: maxBytes, batch: maxBatch, ef: maxEf, limit: maxResults).checked(),
                expiresMilliseconds: try expires.map(Self.moment))
            // Before the key is made: afterwards nobody could tell it any more.
            let file = try out.map(Self.open)
            var isMade = false
            // Nobody has to clear away what was not written.
            defer { if let out, !isMade { unlink(out) } }
            try await options.withCluster { cluster in
                let made = try await cluster.createKey(order, deadline: options.deadline)
                isMade = true
                if let file { try file.write(contentsOf: Data("\(made.key)\n".utf8)) }
                if options.json {
                    var fields = made.info.fields
                    if file == nil { fields["key"] = .string(made.key) }
                    return print(JSONWriter.text(.map(fields)))
                }
                print(file == nil ? made.key : "made the key \(made.info.id), in \(out ?? "")")
            }
        }

        private static func open(_ path: String) throws(NeedletailError) -> FileHandle {
            let descriptor = Foundation.open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
            guard descriptor >= 0 else {
                throw NeedletailError(.invalidArgument, "--out \(path): \(String(cString: strerror(errno))); name a file that is not there yet")
            }
            return FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        }

        private static func moment(_ text: String) throws(NeedletailError) -> UInt64 {
            let units: [Character: Double] = ["m": 60, "h": 3_600, "d": 86_400]
            guard let unit = text.last.flatMap({ units[$0] }), let count = Double(text.dropLast()), count > 0, count < 1e6 else {
                throw NeedletailError(.invalidArgument, "--expires is a time from now, as 30m, 12h or 90d, not \(text)")
            }
            return UInt64((Date().timeIntervalSince1970 + count * unit) * 1e3)
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the keys there are.")
        @OptionGroup var options: ClusterOptions

        func run() async throws {
            try await options.withCluster { cluster in
                let keys = try await cluster.keys(deadline: options.deadline)
                if options.json { return print(JSONWriter.text(.list(keys.map { .map($0.fields) }))) }
                if keys.isEmpty { return print("no keys yet; make one with: needletail access keys create NAME --grant read:COLLECTION") }
                var table = Table("ID", "NAME", "GRANTS", "FILTER", "CREATED (UTC)", "EXPIRES", "LAST USED")
                for key in keys {
                    table.add(
                        key.id, key.caller.name, key.caller.grants.map(\.text).joined(separator: " "),
                        key.caller.filter.map { JSONWriter.text($0.json) } ?? "-",
                        key.createdMilliseconds.asTime, key.caller.expiresMilliseconds?.asTime ?? "never", key.lastUsedMilliseconds?.asTime ?? "-")
                }
                table.print()
            }
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Remove a key: every coordinator refuses it within about a second.")
        @Argument(help: "The key's id.") var id: String
        @OptionGroup var options: ClusterOptions

        func run() async throws {
            try await options.withCluster { cluster in
                try await cluster.revokeKey(id, deadline: options.deadline)
                if !options.json { print("revoked \(id)") }
            }
        }
    }

    struct WhoAmI: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "whoami", abstract: "Show what your own key or token is taken for.")
        @OptionGroup var options: ClusterOptions

        func run() async throws {
            try await options.withCluster { cluster in
                let caller = try await cluster.whoAmI(deadline: options.deadline)
                if options.json { return print(JSONWriter.text(.map(caller.fields))) }
                let filter = caller.filter.map { ", kept to \(JSONWriter.text($0.json))" } ?? ""
                let end = caller.expiresMilliseconds.map { ", until \($0.asTime) (UTC)" } ?? ""
                print("\(caller.name): \(caller.grants.map(\.text).joined(separator: " "))\(filter)\(end)")
            }
        }
    }
}

extension PayloadFilter {
    fileprivate init(json text: String) throws(NeedletailError) {
        do throws(NeedletailError) {
            var reader = JSONReader(text.utf8)
            try self.init(from: &reader)
            try reader.end()
        } catch {
            throw NeedletailError(.invalidArgument, "--filter: \(error.message)")
        }
    }

    fileprivate var json: PayloadValue {
        .map(
            Dictionary(
                uniqueKeysWithValues: conditions.map { condition in
                    let values: [PayloadValue] = condition.values.map { value in
                        switch value {
                        case .bool(let flag): .bool(flag)
                        case .integer(let number): .integer(number)
                        case .string(let text): .string(text)
                        }
                    }
                    return (condition.key, .list(values))
                }))
    }
}

extension CallerInfo {
    fileprivate var fields: Payload {
        var fields: Payload = ["name": .string(name), "grants": .list(grants.map { .string($0.text) })]
        fields["filter"] = filter?.json
        fields["requests_per_second"] = limits.requestsPerSecond.map { .double($0) }
        fields["request_bytes"] = limits.requestBytes.map { .count($0) }
        fields["batch"] = limits.batch.map { .count($0) }
        fields["ef"] = limits.ef.map { .count($0) }
        fields["limit"] = limits.limit.map { .count($0) }
        fields["expires_milliseconds"] = expiresMilliseconds.map { .count($0) }
        return fields
    }
}

extension AccessKeyInfo {
    fileprivate var fields: Payload {
        var fields = caller.fields
        fields["id"] = .string(id)
        fields["created_milliseconds"] = .count(createdMilliseconds)
        fields["last_used_milliseconds"] = lastUsedMilliseconds.map { .count($0) }
        return fields
    }
}

extension UInt64 {
    /// Milliseconds since 1970, for people.
    fileprivate var asTime: String {
        Date(timeIntervalSince1970: Double(self) / 1e3).formatted(.iso8601.dateSeparator(.dash).dateTimeSeparator(.space).timeSeparator(.colon))
            .replacing("Z", with: "")
    }
}
