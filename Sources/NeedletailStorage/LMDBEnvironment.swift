private import CLMDB
import NeedletailCore
import Synchronization

/// Owns one LMDB environment (a file and its `-lock` file) with two databases: the caller's entries, and figures about them.
///
/// - A write transaction begins, works and commits within one call, on one thread, as LMDB demands.
/// - Read transactions are reset after use and renewed for the next one (`MDB_NOTLS`: they belong to us, not to a thread). A reset one
///   holds no snapshot, so it pins no pages.
/// - The map grows by itself. `mdb_env_set_mapsize` wants no transaction anywhere in the process: transactions hold `activity`
///   shared, growing holds it alone and throws the reset readers away first.
///
/// LMDB has no page checksums: it notices impossible pages, not wrong values. The file is never opened twice by one process.
///
/// `@unchecked Sendable`: LMDB locks writers; `readers` is behind a mutex; `activity` keeps growing apart from everything else.
final class LMDBEnvironment: @unchecked Sendable {
    enum Table: Int {
        case entries = 0
        case figures = 1
    }

    /// The longest key LMDB takes.
    static let maximumKeyBytes = 511
    private static let maximumMapBytes = 1 << 42
    private static let idleReaders = 16

    let path: String
    private let disk: Disk
    private let environment: OpaquePointer
    private let tables: [UInt32]
    private let activity = ReadWriteLock()
    /// Behind `activity`.
    private var isClosed = false
    private let readers = Mutex<UnsafeBox<[OpaquePointer]>>(UnsafeBox([]))

    /// Opens or creates the file. `mapBytes` is where the map starts: addresses, not memory.
    init(path: String, mapBytes: Int, disk: Disk) throws {
        self.path = path
        self.disk = disk
        try disk.check(.open, path, call: "mdb_env_open")
        var handle: OpaquePointer?
        try lmdb(mdb_env_create(&handle), "mdb_env_create", path)
        guard let handle else { throw NeedletailError(.internal, "LMDB gave no environment.", location: path) }
        do {
            try lmdb(mdb_env_set_mapsize(handle, mapBytes), "mdb_env_set_mapsize", path)
            try lmdb(mdb_env_set_maxdbs(handle, 2), "mdb_env_set_maxdbs", path)
            try lmdb(mdb_env_set_maxreaders(handle, 512), "mdb_env_set_maxreaders", path)
            let flags = UInt32(MDB_NOSUBDIR) | UInt32(MDB_NOTLS) | UInt32(MDB_NORDAHEAD)
            try lmdb(mdb_env_open(handle, path, flags, 0o644), "mdb_env_open", path)
            // Readers of processes that died would pin old pages for ever.
            try lmdb(mdb_reader_check(handle, nil), "mdb_reader_check", path)
            try Self.extendFile(handle, path, disk)
            tables = try Self.openTables(handle, path)
        } catch {
            mdb_env_close(handle)
            throw error
        }
        environment = handle
    }

    deinit { if !isClosed { end() } }

    /// Waits for the transactions under way and closes the file; later ones are refused. The same file may be opened again only after
    /// this: opened twice by one process, LMDB makes the locks anew that the first one holds.
    func close() {
        activity.exclusive { if !isClosed { end() } }
    }

    private func end() {
        isClosed = true
        dropReaders()
        mdb_env_close(environment)
    }

    private func checkOpen() throws {
        guard !isClosed else { throw NeedletailError(.unavailable, "The file was closed; ask again.", location: path) }
    }

    /// A file cut short would kill the process when a page behind its end is touched; as zeros LMDB calls the page corrupt.
    private static func extendFile(_ environment: OpaquePointer, _ path: String, _ disk: Disk) throws {
        var info = MDB_envinfo()
        var figures = MDB_stat()
        try lmdb(mdb_env_info(environment, &info), "mdb_env_info", path)
        try lmdb(mdb_env_stat(environment, &figures), "mdb_env_stat", path)
        let wanted = (info.me_last_pgno + 1) * Int(figures.ms_psize)
        if try disk.sizeBytes(path) < wanted { try disk.open(path, .readWrite).truncate(to: wanted) }
    }

    private static func openTables(_ environment: OpaquePointer, _ path: String) throws -> [UInt32] {
        var transaction: OpaquePointer?
        try lmdb(mdb_txn_begin(environment, nil, 0, &transaction), "mdb_txn_begin", path)
        var tables: [UInt32] = []
        for name in ["entries", "figures"] {
            var table: MDB_dbi = 0
            let result = mdb_dbi_open(transaction, name, UInt32(MDB_CREATE), &table)
            if result != 0 { mdb_txn_abort(transaction) }
            try lmdb(result, "mdb_dbi_open", path)
            tables.append(table)
        }
        // A failed commit frees the transaction too.
        try lmdb(mdb_txn_commit(transaction), "mdb_txn_commit", path)
        return tables
    }

    // MARK: Transactions

    /// Runs `body` on a snapshot. Nothing of the transaction may leave it.
    func read<Result>(_ body: (LMDBTransaction) throws -> Result) throws -> Result {
        try disk.check(.read, path, call: "mdb_txn_renew")
        return try activity.shared {
            try checkOpen()
            let reader = try takeReader()
            defer { giveBack(reader) }
            return try body(LMDBTransaction(handle: reader, tables: tables, path: path))
        }
    }

    /// Runs `body` in a write transaction and commits it durably. When the map is full it grows and `body` runs again, from the start.
    func write<Result>(_ body: (LMDBTransaction) throws -> Result) throws -> Result {
        while true {
            do {
                return try activity.shared {
                    try checkOpen()
                    return try attemptWrite(body)
                }
            } catch let error as MapFullError {
                try grow(beyond: error.mapBytes)
            }
        }
    }

    private struct MapFullError: Error { let mapBytes: Int }

    private func attemptWrite<Result>(_ body: (LMDBTransaction) throws -> Result) throws -> Result {
        try disk.check(.write, path, call: "mdb_txn_begin")
        var handle: OpaquePointer?
        try lmdb(mdb_txn_begin(environment, nil, 0, &handle), "mdb_txn_begin", path)
        guard let handle else { throw NeedletailError(.internal, "LMDB gave no transaction.", location: path) }
        var isOpen = true
        do {
            let result = try body(LMDBTransaction(handle: handle, tables: tables, path: path))
            try disk.check(.sync, path, call: "mdb_txn_commit")
            isOpen = false
            try lmdb(mdb_txn_commit(handle), "mdb_txn_commit", path)
            return result
        } catch {
            if isOpen { mdb_txn_abort(handle) }
            if (error as? NeedletailError)?.cause is LMDBMapFull { throw MapFullError(mapBytes: try mapBytes()) }
            throw error
        }
    }

    private func mapBytes() throws -> Int {
        var info = MDB_envinfo()
        try lmdb(mdb_env_info(environment, &info), "mdb_env_info", path)
        return info.me_mapsize
    }

    private func grow(beyond full: Int) throws {
        try activity.exclusive {
            try checkOpen()
            // Another writer may have grown it meanwhile.
            guard try mapBytes() <= full else { return }
            guard full * 2 <= Self.maximumMapBytes else { throw mapFull(path) }
            dropReaders()
            try lmdb(mdb_env_set_mapsize(environment, full * 2), "mdb_env_set_mapsize", path)
        }
    }

    private func takeReader() throws -> OpaquePointer {
        if let idle = readers.withLock({ $0.value.popLast() }) {
            let result = mdb_txn_renew(idle)
            if result == 0 { return idle }
            mdb_txn_abort(idle)
            try lmdb(result, "mdb_txn_renew", path)
        }
        var handle: OpaquePointer?
        try lmdb(mdb_txn_begin(environment, nil, UInt32(MDB_RDONLY), &handle), "mdb_txn_begin", path)
        guard let handle else { throw NeedletailError(.internal, "LMDB gave no transaction.", location: path) }
        return handle
    }

    private func giveBack(_ reader: OpaquePointer) {
        mdb_txn_reset(reader)
        let kept = readers.withLock { box in
            guard box.value.count < Self.idleReaders else { return false }
            box.value.append(reader)
            return true
        }
        if !kept { mdb_txn_abort(reader) }
    }

    private func dropReaders() {
        readers.withLock { box in
            for reader in box.value { mdb_txn_abort(reader) }
            box.value = []
        }
    }

    // MARK: Whole file

    /// Writes a consistent, compacted copy to a file that must not exist yet; writers go on meanwhile.
    func copy(to target: String) throws {
        try activity.shared {
            try checkOpen()
            try lmdb(mdb_env_copy2(environment, target, UInt32(MDB_CP_COMPACT)), "mdb_env_copy2", target)
        }
        let copy = try disk.open(target, .readWrite)
        try copy.sync()
    }
}

/// A transaction, for the duration of one `read` or `write`.
struct LMDBTransaction {
    fileprivate let handle: OpaquePointer
    fileprivate let tables: [UInt32]
    fileprivate let path: String

    func get(_ key: [UInt8], from table: LMDBEnvironment.Table = .entries) throws -> [UInt8]? {
        try check(key)
        return try key.withUnsafeBytes { keyBytes in
            var (key, value) = (mdbValue(keyBytes), MDB_val())
            let result = mdb_get(handle, tables[table.rawValue], &key, &value)
            if result == MDB_NOTFOUND { return nil }
            try lmdb(result, "mdb_get", path)
            return copied(value)
        }
    }

    func put(_ key: [UInt8], _ value: [UInt8], in table: LMDBEnvironment.Table = .entries) throws {
        try check(key)
        try key.withUnsafeBytes { keyBytes in
            try value.withUnsafeBytes { valueBytes in
                var (key, value) = (mdbValue(keyBytes), mdbValue(valueBytes))
                try lmdb(mdb_put(handle, tables[table.rawValue], &key, &value, 0), "mdb_put", path)
            }
        }
    }

    /// Deleting what is not there is no error.
    func delete(_ key: [UInt8], in table: LMDBEnvironment.Table = .entries) throws {
        try check(key)
        try key.withUnsafeBytes { keyBytes in
            var key = mdbValue(keyBytes)
            let result = mdb_del(handle, tables[table.rawValue], &key, nil)
            if result != MDB_NOTFOUND { try lmdb(result, "mdb_del", path) }
        }
    }

    /// Calls `body` for entries in key order, from the first key at `start` or, unless `inclusive`, after it, until it says false.
    func scan(from start: [UInt8]?, inclusive: Bool, _ body: (_ key: [UInt8], _ value: [UInt8]) throws -> Bool) throws {
        var cursor: OpaquePointer?
        try lmdb(mdb_cursor_open(handle, tables[0], &cursor), "mdb_cursor_open", path)
        defer { mdb_cursor_close(cursor) }
        var (key, value) = (MDB_val(), MDB_val())
        var result: Int32
        if let start, !start.isEmpty {
            try check(start)
            result = start.withUnsafeBytes { bytes in
                key = mdbValue(bytes)
                return mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE)
            }
            if result == 0, !inclusive, copied(key) == start { result = mdb_cursor_get(cursor, &key, &value, MDB_NEXT) }
        } else {
            result = mdb_cursor_get(cursor, &key, &value, MDB_FIRST)
        }
        while result == 0 {
            if try !body(copied(key), copied(value)) { return }
            result = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)
        }
        if result != MDB_NOTFOUND { try lmdb(result, "mdb_cursor_get", path) }
    }

    /// Of the pages that hold entries.
    func dataBytes() throws -> Int {
        var figures = MDB_stat()
        try lmdb(mdb_stat(handle, tables[0], &figures), "mdb_stat", path)
        return Int(figures.ms_psize) * (figures.ms_branch_pages + figures.ms_leaf_pages + figures.ms_overflow_pages)
    }

    func count() throws -> Int {
        var figures = MDB_stat()
        try lmdb(mdb_stat(handle, tables[0], &figures), "mdb_stat", path)
        return figures.ms_entries
    }

    func figure(_ name: String) throws -> UInt64? {
        guard let bytes = try get(Array(name.utf8), from: .figures) else { return nil }
        var reader = ByteReader(bytes, location: path)
        return try reader.u64()
    }

    func setFigure(_ name: String, _ value: UInt64) throws {
        var writer = ByteWriter()
        writer.u64(value)
        try put(Array(name.utf8), writer.bytes, in: .figures)
    }

    private func check(_ key: [UInt8]) throws {
        guard !key.isEmpty, key.count <= LMDBEnvironment.maximumKeyBytes else {
            throw NeedletailError(
                .invalidArgument, "A key has \(key.count) bytes; 1 to \(LMDBEnvironment.maximumKeyBytes) are possible.",
                location: path)
        }
    }
}

/// LMDB takes mutable pointers and writes through none of them here.
private func mdbValue(_ bytes: UnsafeRawBufferPointer) -> MDB_val {
    MDB_val(mv_size: bytes.count, mv_data: UnsafeMutableRawPointer(mutating: bytes.baseAddress))
}

/// The bytes LMDB points at stay valid until the transaction goes on; they are copied before.
private func copied(_ value: MDB_val) -> [UInt8] {
    Array(UnsafeRawBufferPointer(start: value.mv_data, count: value.mv_size))
}

private struct LMDBMapFull: Error {}

private func mapFull(_ path: String) -> NeedletailError {
    NeedletailError(
        .resourceExhausted, "The payload file reached its largest size; make the collection again with more shards.", cause: LMDBMapFull(), location: path)
}

/// Throws the project's error for an LMDB result that is not success.
private func lmdb(_ result: Int32, _ call: String, _ path: String) throws {
    switch result {
    case 0: return
    case MDB_MAP_FULL: throw mapFull(path)
    case MDB_READERS_FULL, MDB_TXN_FULL, MDB_CURSOR_FULL, MDB_DBS_FULL:
        throw NeedletailError(
            .resourceExhausted, "LMDB is at a limit (\(describe(result)) in \(call)); retry later.", location: path)
    case MDB_VERSION_MISMATCH:
        throw NeedletailError(.failedPrecondition, "The file was made by another version of LMDB; use that one.", location: path)
    case MDB_BAD_VALSIZE:
        throw NeedletailError(.invalidArgument, "A key or value has a size LMDB does not store.", location: path)
    case MDB_CORRUPTED, MDB_INVALID, MDB_PAGE_NOTFOUND, MDB_PANIC, MDB_INCOMPATIBLE, MDB_BAD_DBI:
        throw NeedletailError(
            .dataLoss,
            "The LMDB file is damaged (\(describe(result)) in \(call)). A coordinator's: put its data folder back from a copy. A replica's: "
                + NeedletailError.damagedReplicaAdvice + ".",
            location: path)
    case 1...: throw systemError(call, result, path)
    default: throw NeedletailError(.internal, "LMDB refused a call (\(describe(result)) in \(call)).", location: path)
    }
}

private func describe(_ result: Int32) -> String { String(cString: mdb_strerror(result)) }
