internal import NIOPosix
internal import NeedletailCore
internal import NeedletailStorage

/// Backups in a folder that every process reaches: of one machine, or shared between machines. An object is a file; it gets its name when it is
/// durable.
public struct FolderStorage: BackupStorage {
    private let folder: String
    private let disk: Disk

    /// Threads for calls that wait for the disk, shared by all folders of the process.
    private static let threads: NIOThreadPool = {
        let pool = NIOThreadPool(numberOfThreads: 8)
        pool.start()
        return pool
    }()

    public init(_ folder: String) { self.init(folder, disk: .real) }

    init(_ folder: String, disk: Disk) {
        self.folder = folder
        self.disk = disk
    }

    public var address: String { "file://" + folder }

    private static let unfinished = ".part-"

    private func path(_ key: String) throws(NeedletailError) -> String {
        guard !key.isEmpty, !key.split(separator: "/", omittingEmptySubsequences: false).contains(where: { $0.isEmpty || $0.hasPrefix(".") }) else {
            throw NeedletailError(.invalidArgument, "\"\(key)\" is no key of an object")
        }
        return folder + "/" + key
    }

    private func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        do {
            return try await Self.threads.runIfActive(body)
        } catch let error as NeedletailError {
            throw NeedletailError(error.code, Self.advice(error), cause: error.cause, location: error.location)
        }
    }

    private static func advice(_ error: NeedletailError) -> String {
        switch error.code {
        case .resourceExhausted: "the folder for backups cannot take more: \(error.message)"
        case .dataLoss: error.message
        default: "the folder for backups cannot be used: \(error.message) It must be there, or be makeable, on every machine"
        }
    }

    public func put(_ key: String, _ bytes: [UInt8]) async throws {
        let (path, disk) = (try path(key), disk)
        try await run {
            let slash = path.lastIndex(of: "/") ?? path.startIndex
            let parent = String(path[..<slash])
            if !disk.exists(parent) { try disk.createDirectory(parent) }
            // Two shards may store the same object at once.
            let temporary = "\(parent)/\(Self.unfinished)\(UInt64.random(in: 0 ... .max))"
            try disk.replaceFile(path, with: bytes, through: temporary)
        }
    }

    public func get(_ key: String) async throws -> [UInt8]? {
        let (path, disk) = (try path(key), disk)
        return try await run { try disk.readFile(path) }
    }

    public func exists(_ key: String) async throws -> Bool {
        let (path, disk) = (try path(key), disk)
        return try await run { disk.exists(path) }
    }

    public func list(_ prefix: String, _ body: ([StoredObject]) async throws -> Void) async throws {
        let (folder, disk) = (folder, disk)
        let names = try await run { try disk.list(folder + "/" + prefix) }
        var files: [String] = []
        for name in names where !name.hasPrefix(".") {
            let path = folder + "/" + prefix + name
            if try await run({ disk.isFolder(path) }) { try await list(prefix + name + "/", body) } else { files.append(name) }
        }
        if files.isEmpty { return }
        let found = files
        try await body(
            try await run {
                try found.map { StoredObject(key: prefix + $0, sizeBytes: try disk.fileBytes(folder + "/" + prefix + $0)) }
            })
    }

    public func delete(_ key: String) async throws {
        let (path, disk) = (try path(key), disk)
        try await run { try disk.removeFile(path) }
    }
}
