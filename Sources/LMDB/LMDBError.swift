import CLMDB
import Glibc

/// What went wrong in an environment; cases keep the names of the C codes in `lmdb.h`.
public enum LMDBError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Which call failed, on which file.
    public struct Origin: Sendable, Equatable {
        /// The C function, `mdb_put` for one.
        public let call: String
        /// The environment's data file.
        public let path: String
    }

    /// `MDB_KEYEXIST`: the key is there already, or an appended key is not the greatest.
    case keyExist(Origin)
    /// `MDB_NOTFOUND`: no such key or table.
    case notFound(Origin)
    /// `MDB_PAGE_NOTFOUND`: the tree names a page that is not there. The file is damaged.
    case pageNotFound(Origin)
    /// `MDB_CORRUPTED`: a page of the wrong type. The file is damaged.
    case corrupted(Origin)
    /// `MDB_PANIC`: an earlier write of the meta page failed.
    case panic(Origin)
    /// `MDB_VERSION_MISMATCH`: another format than 0.9's.
    case versionMismatch(Origin)
    /// `MDB_INVALID`: not an LMDB file; `reason` says how it shows.
    case invalid(Origin, reason: String)
    /// `MDB_MAP_FULL`: the map reached `maxMapSize`, or readers kept it from growing.
    case mapFull(Origin)
    /// `MDB_DBS_FULL`: more tables than the environment was opened for.
    case dbsFull(Origin)
    /// `MDB_READERS_FULL`: more simultaneous read transactions than `maxReaders`.
    case readersFull(Origin)
    /// `MDB_TXN_FULL`: more dirty pages than a transaction holds.
    case txnFull(Origin)
    /// `MDB_BAD_TXN`: an earlier call of this transaction failed and the failure was ignored.
    case badTxn(Origin)
    /// `MDB_BAD_VALSIZE`: an empty key, or one above 511 bytes, or a value of another size.
    case badValsize(Origin)
    /// `MDB_BAD_DBI`: the table belongs to another environment.
    case badDbi(Origin)
    /// Another code of `lmdb.h`.
    case other(Origin, code: CInt)
    /// `ENOSPC` or `EDQUOT`: no space; nothing of the transaction was kept.
    case diskFull(Origin)
    /// `EBUSY` or `EAGAIN`.
    case busy(Origin)
    /// Another `errno` of the operating system.
    case io(Origin, errno: CInt)
    /// The file is shorter than its newest meta page says, in bytes.
    case truncated(path: String, expected: UInt64, found: UInt64)
    /// This process has the environment open already.
    case alreadyOpen(path: String)
    /// The environment was closed.
    case closed(path: String)
    /// After an earlier failure the environment takes no more transactions.
    case poisoned(path: String, reason: String)
    /// The closure refused to go on; nothing of its transaction was kept.
    case rejected(path: String, reason: String)

    init(code: CInt, call: String, path: String) {
        let origin = Origin(call: call, path: path)
        switch code {
        case MDB_KEYEXIST: self = .keyExist(origin)
        case MDB_NOTFOUND: self = .notFound(origin)
        case MDB_PAGE_NOTFOUND: self = .pageNotFound(origin)
        case MDB_CORRUPTED: self = .corrupted(origin)
        case MDB_PANIC: self = .panic(origin)
        case MDB_VERSION_MISMATCH: self = .versionMismatch(origin)
        case MDB_INVALID: self = .invalid(origin, reason: "no LMDB meta page")
        case MDB_MAP_FULL: self = .mapFull(origin)
        case MDB_DBS_FULL: self = .dbsFull(origin)
        case MDB_READERS_FULL: self = .readersFull(origin)
        case MDB_TXN_FULL: self = .txnFull(origin)
        case MDB_BAD_TXN: self = .badTxn(origin)
        case MDB_BAD_VALSIZE: self = .badValsize(origin)
        case MDB_BAD_DBI: self = .badDbi(origin)
        case ENOSPC, EDQUOT: self = .diskFull(origin)
        case EBUSY, EAGAIN: self = .busy(origin)
        case let code where code < 0: self = .other(origin, code: code)
        default: self = .io(origin, errno: code)
        }
    }

    /// The file is damaged: rebuild what can be rebuilt, never go on writing.
    public var isDamage: Bool {
        switch self {
        case .pageNotFound, .corrupted, .invalid, .truncated, .versionMismatch: true
        default: false
        }
    }

    /// File, call, code and what to do next.
    public var description: String {
        switch self {
        case .truncated(let path, let expected, let found):
            "\(path): the file is truncated: its newest meta page needs \(expected) bytes, "
                + "found \(found); restore it or rebuild it, it cannot be opened"
        case .alreadyOpen(let path):
            "\(path): this process has it open already; share that environment"
        case .closed(let path):
            "\(path): the environment was closed; open it again"
        case .poisoned(let path, let reason):
            "\(path): no more transactions after: \(reason); "
                + "close it, check the disk, open it again"
        case .rejected(let path, let reason):
            "\(path): transaction given up: \(reason); nothing of it was kept"
        default: codeDescription
        }
    }

    private var codeDescription: String {
        switch self {
        case .keyExist(let at):
            Self.text(at, "MDB_KEYEXIST", "key exists or is not the greatest; append in order")
        case .notFound(let at): Self.text(at, "MDB_NOTFOUND", "no such key or table")
        case .pageNotFound(let at):
            Self.text(at, "MDB_PAGE_NOTFOUND", "damaged: a page is missing; restore or rebuild it")
        case .corrupted(let at):
            Self.text(at, "MDB_CORRUPTED", "damaged: a wrong page; restore or rebuild it")
        case .panic(let at):
            Self.text(at, "MDB_PANIC", "a meta page could not be written; check the disk, reopen")
        case .versionMismatch(let at):
            Self.text(at, "MDB_VERSION_MISMATCH", "expected data format 1; use the right version")
        case .invalid(let at, let reason):
            Self.text(at, "MDB_INVALID", "\(reason); restore or rebuild it")
        case .mapFull(let at):
            Self.text(at, "MDB_MAP_FULL", "the map cannot grow further; raise maxMapSize")
        case .dbsFull(let at): Self.text(at, "MDB_DBS_FULL", "name every table in the options")
        case .readersFull(let at):
            Self.text(at, "MDB_READERS_FULL", "raise maxReaders or run fewer reads at a time")
        case .txnFull(let at): Self.text(at, "MDB_TXN_FULL", "split the transaction")
        case .badTxn(let at):
            Self.text(at, "MDB_BAD_TXN", "an earlier call in it failed; do not ignore that error")
        case .badValsize(let at):
            Self.text(at, "MDB_BAD_VALSIZE", "keys have 1 to 511 bytes; check key and value")
        case .badDbi(let at):
            Self.text(at, "MDB_BAD_DBI", "the table is not of this environment")
        case .diskFull(let at):
            Self.text(at, "ENOSPC", "no space left, nothing was kept; free space and retry")
        case .busy(let at): Self.text(at, "EBUSY", "in use; retry")
        case .io(let at, let code):
            Self.text(at, "errno \(code)", unsafe String(cString: strerror(code)))
        case .other(let at, let code):
            Self.text(at, "code \(code)", unsafe String(cString: mdb_strerror(code)))
        default: ""
        }
    }

    private static func text(_ origin: Origin, _ code: String, _ next: String) -> String {
        "\(origin.path): \(origin.call): \(code): \(next)"
    }
}
