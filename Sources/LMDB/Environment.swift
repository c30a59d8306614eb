import CLMDB
import Glibc
import Synchronization

/// One LMDB data file, opened once per process; its lock file lies beside it (`<path>-lock`).
///
/// Rules, and what breaking them costs:
/// - Every transaction is a synchronous closure. A write transaction must begin and end on one OS
///   thread, or LMDB's lock stays taken for ever; a read transaction kept open makes the file grow.
/// - A commit is durable when `write` returns: `MDB_NOSYNC` and its kin are never used.
/// - LMDB keeps no checksums of its pages: store a checksum in every value that matters.
/// - Values are aligned to 2 bytes only and die with the transaction: load unaligned, copy.
/// - Only one process should write. Take a lock of your own before opening, and never open the data
///   or the lock file by other means meanwhile: closing that descriptor drops LMDB's locks.
/// - Never on a network file system, never across `fork`.
public final class Environment: Sendable {
    /// How to open an environment.
    public struct Options: Sendable {
        /// Bytes the map starts with; address space only, not memory or disk.
        public var mapSize = 1 << 30
        /// Bytes the map may grow to by doubling.
        public var maxMapSize = 1 << 42
        /// Names of the tables, at most 64.
        ///
        /// Empty: the environment has the one table `main`.
        public var tables: [String] = []
        /// Read transactions that may be open at the same time, over all processes.
        public var maxReaders = 254
        /// Open without writing; the file must exist.
        public var readOnly = false
        /// Make the file when it is missing or empty.
        public var createIfMissing = true
        /// Tell the kernel not to read ahead: for maps larger than memory.
        public var randomAccess = false
        /// The usual choices, with these tables.
        public init(tables: [String] = []) { self.tables = tables }
    }

    /// The data file with links resolved.
    public let path: String
    let options: Options
    let handle: EnvironmentHandle
    let gate = Gate()
    /// Read transactions that are reset and wait for their next use; each keeps a reader slot.
    let idleReaders = Mutex<[ReaderHandle]>([])
    /// Bytes of the map; changes only while nobody is inside the gate.
    let mapBytes: Atomic<Int>
    /// The thread inside a write closure, 0 for none.
    let writer = Atomic<UInt>(0)
    /// Why writes are refused after a failed commit.
    let writeFault = Mutex<String?>(nil)
    private let isFinished = Atomic<Bool>(false)
    private let tables: [String: Table]
    private let mainTable: Table

    /// How long `close` waits for transactions, and growth for readers, in milliseconds.
    static let patienceMilliseconds = 60_000

    /// Opens, or creates, the environment in the file `path` and opens its tables.
    ///
    /// When it returns, a new file and its directory entry are durable. Throws `.alreadyOpen`,
    /// `.truncated`, `.invalid`, `.notFound` (a table of a read-only environment) or what the
    /// operating system says.
    public init(path: String, options: Options = Options()) throws(LMDBError) {
        let realPath = try Registry.realPath(path)
        guard Registry.claim(realPath) else { throw .alreadyOpen(path: realPath) }
        do throws(LMDBError) {
            let exists = try FileCheck.verify(realPath)
            guard exists || (options.createIfMissing && !options.readOnly) else {
                throw LMDBError(code: ENOENT, call: "open", path: realPath)
            }
            let serial = Registry.nextSerial()
            let opened = try OpenedEnvironment(path: realPath, options: options)
            let dbis = try opened.openTables()
            if !exists { try opened.makeBirthDurable() }
            var tables: [String: Table] = [:]
            for (name, dbi) in zip(options.tables, dbis) {
                tables[name] = Table(dbi: dbi, owner: serial)
            }
            self.tables = tables
            mainTable = Table(dbi: 1, owner: serial)
            mapBytes = Atomic(try opened.mapBytes())
            handle = unsafe EnvironmentHandle(raw: opened.release())
        } catch {
            Registry.release(realPath)
            throw error
        }
        self.path = realPath
        self.options = options
    }

    deinit { finish() }

    /// The table of this name; throws `.notFound` unless it is named in the options.
    public func table(_ name: String) throws(LMDBError) -> Table {
        guard let table = tables[name] else {
            throw .notFound(.init(call: "table \(name)", path: path))
        }
        return table
    }

    /// The one table of an environment opened without names, a level cheaper to reach.
    ///
    /// Where tables are named it holds their records: do not write to it then.
    public var main: Table { mainTable }

    /// Closes: new transactions throw `.closed`, those under way are waited for.
    ///
    /// Never call it inside a transaction. Should a transaction outlast a minute, the file closes
    /// when the environment is released instead. Closing twice is harmless.
    public func close() {
        precondition(
            !isWriting, "Environment.close() inside a write transaction would wait for itself")
        if gate.close(milliseconds: Self.patienceMilliseconds) { finish() }
    }

    /// Whether the calling thread is inside a write closure of this environment.
    var isWriting: Bool { writer.load(ordering: .relaxed) == UInt(pthread_self()) }

    /// Called when no transaction can be open any more.
    private func finish() {
        guard !isFinished.exchange(true, ordering: .acquiringAndReleasing) else { return }
        for reader in takeIdleReaders() { unsafe mdb_txn_abort(reader.raw) }
        unsafe mdb_env_close(handle.raw)
        Registry.release(path)
    }

    func takeIdleReaders() -> [ReaderHandle] {
        idleReaders.withLock { readers in
            let all = readers
            readers = []
            return all
        }
    }
}

/// The `MDB_env`.
///
/// Unchecked: LMDB lets threads share it, but for `mdb_env_set_mapsize` and `mdb_env_close`, which
/// run only while `Gate` keeps everybody out or the owner is being released.
@safe struct EnvironmentHandle: @unchecked Sendable {
    let raw: OpaquePointer
}

/// A reset read transaction.
///
/// Unchecked: with `MDB_NOTLS` it may move between threads; `idleReaders` hands it to one at a
/// time.
@safe struct ReaderHandle: @unchecked Sendable {
    let raw: OpaquePointer
}

/// An environment while it is being opened; closes it again if that fails.
@safe final class OpenedEnvironment {
    private static let maxTables = 64
    private let raw: OpaquePointer
    private var isReleased = false
    private let path: String
    private let options: Environment.Options

    init(path: String, options: Environment.Options) throws(LMDBError) {
        var made: OpaquePointer?
        try Self.check(unsafe mdb_env_create(&made), "mdb_env_create", path)
        guard let made = unsafe made else {
            throw LMDBError(code: ENOMEM, call: "mdb_env_create", path: path)
        }
        unsafe raw = made
        self.path = path
        self.options = options
        guard options.tables.count <= Self.maxTables else {
            throw .dbsFull(.init(call: "mdb_env_set_maxdbs", path: path))
        }
        let mapSize = max(options.mapSize, 64 << 10)
        try check(unsafe mdb_env_set_mapsize(raw, mapSize), "mdb_env_set_mapsize")
        try check(
            unsafe mdb_env_set_maxreaders(raw, UInt32(clamping: max(options.maxReaders, 1))),
            "mdb_env_set_maxreaders")
        if !options.tables.isEmpty {
            try check(
                unsafe mdb_env_set_maxdbs(raw, UInt32(options.tables.count)), "mdb_env_set_maxdbs")
        }
        var flags = UInt32(MDB_NOSUBDIR | MDB_NOTLS)
        if options.readOnly { flags |= UInt32(MDB_RDONLY) }
        if options.randomAccess { flags |= UInt32(MDB_NORDAHEAD) }
        try check(unsafe mdb_env_open(raw, path, flags, 0o644), "mdb_env_open")
        // The other two descriptors are opened with O_CLOEXEC by the library.
        _ = fcntl(try descriptor(), F_SETFD, FD_CLOEXEC)
    }

    deinit { if !isReleased { unsafe mdb_env_close(raw) } }

    /// Gives the environment away.
    func release() -> OpaquePointer {
        isReleased = true
        return unsafe raw
    }

    func mapBytes() throws(LMDBError) -> Int {
        var info = unsafe MDB_envinfo()
        try check(unsafe mdb_env_info(raw, &info), "mdb_env_info")
        return unsafe info.me_mapsize
    }

    /// LMDB syncs neither the first meta pages nor the directory.
    func makeBirthDurable() throws(LMDBError) {
        guard fsync(try descriptor()) == 0 else {
            throw LMDBError(code: errno, call: "fsync", path: path)
        }
        try Registry.syncDirectory(of: path)
    }

    /// Opens every table, creating what is missing in one durable transaction.
    func openTables() throws(LMDBError) -> [UInt32] {
        do throws(LMDBError) {
            return try openTables(transaction: MDB_RDONLY, table: 0)
        } catch {
            guard case .notFound = error, !options.readOnly else { throw error }
            return try openTables(transaction: 0, table: MDB_CREATE)
        }
    }

    private func openTables(transaction: CInt, table: CInt) throws(LMDBError) -> [UInt32] {
        var begun: OpaquePointer?
        try check(
            unsafe mdb_txn_begin(raw, nil, UInt32(transaction), &begun), "mdb_txn_begin")
        guard let txn = unsafe begun else {
            throw LMDBError(code: ENOMEM, call: "mdb_txn_begin", path: path)
        }
        var dbis: [UInt32] = []
        do throws(LMDBError) {
            if options.tables.isEmpty {
                // Sets how the main table compares keys.
                var dbi: MDB_dbi = 0
                try check(unsafe mdb_dbi_open(txn, nil, 0, &dbi), "mdb_dbi_open")
            }
            for name in options.tables {
                var dbi: MDB_dbi = 0
                try check(unsafe mdb_dbi_open(txn, name, UInt32(table), &dbi), "mdb_dbi_open")
                dbis.append(dbi)
            }
        } catch {
            unsafe mdb_txn_abort(txn)
            throw error
        }
        // A handle outlives the transaction that opened it only if that commits, also a reading
        // one.
        try check(unsafe mdb_txn_commit(txn), "mdb_txn_commit")
        return dbis
    }

    private func descriptor() throws(LMDBError) -> CInt {
        var descriptor: mdb_filehandle_t = -1
        try check(unsafe mdb_env_get_fd(raw, &descriptor), "mdb_env_get_fd")
        return descriptor
    }

    private func check(_ code: CInt, _ call: String) throws(LMDBError) {
        try Self.check(code, call, path)
    }

    private static func check(_ code: CInt, _ call: String, _ path: String) throws(LMDBError) {
        guard code == 0 else { throw LMDBError(code: code, call: call, path: path) }
    }
}
