public import LMDB
public import Platform

/// What keeps a master from opening or writing its log.
public enum RaftLogError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Another process, or this one, has the directory open; its process id, when it could be read.
    case inUse(directory: String, process: Int?)
    /// The directory once held a node, whose log is missing or cut short.
    case lostLog(node: String, cluster: String, detail: String)
    /// `IDENTITY` and the log name different nodes or clusters.
    case mixed(directory: String, field: String, identity: String, log: String)
    /// `IDENTITY` cannot be understood.
    case unreadableIdentity(path: String, reason: String)
    /// A record is not what was written.
    case damaged(path: String, record: String, expected: String, found: String)
    /// The log was written by a newer program.
    case unknownVersion(path: String, record: String, version: UInt32)
    /// An entry, state or vote that cannot follow what is stored; nothing was written.
    case refused(path: String, reason: String)
    /// A payload, state or batch above its limit; nothing was written.
    case tooLarge(path: String, what: String, size: Int, limit: Int)
    /// No space left; nothing was written.
    case diskFull(path: String)
    /// A failure of the database. Unless it is about readers, stop: what is on disk is uncertain.
    case database(LMDBError)
    /// A failure of another file of the directory.
    case disk(DiskError)

    init(_ error: LMDBError) {
        switch error {
        case .diskFull(let origin): self = .diskFull(path: origin.path)
        default: self = .database(error)
        }
    }

    init(_ error: DiskError) {
        self = error.isNoSpace ? .diskFull(path: error.path) : .disk(error)
    }

    /// What, where, expected and found, and what to do next.
    public var description: String {
        switch self {
        case .inUse(let directory, let process):
            "mdir \(directory) is in use by pid \(process.map(String.init) ?? "unknown")"
        case .lostLog(let node, let cluster, let detail):
            "node \(node) of cluster \(cluster) lost its log (wiped or not mounted?). "
                + "Not starting a new cluster. To rejoin: weed raft reset, "
                + "then -peers=<a live master> (\(detail))"
        case .mixed(let directory, let field, let identity, let log):
            "\(directory): IDENTITY says \(field) \(identity), the log says \(log): files of two "
                + "masters were mixed; put back the ones that belong together"
        case .unreadableIdentity(let path, let reason):
            "\(path): \(reason); restore the file, or move the directory away to start anew"
        case .damaged(let path, let record, let expected, let found):
            "\(path): \(record): expected \(expected), found \(found); nothing was changed. A bad "
                + "record is never cut off, it may have been acknowledged: keep the directory, "
                + "then rejoin with a new id or restore a copy of a lone master"
        case .unknownVersion(let path, let record, let version):
            "\(path): \(record) has version \(version), this program knows up to "
                + "\(Schema.version); use the newer program"
        case .refused(let path, let reason):
            "\(path): \(reason); nothing was written"
        case .tooLarge(let path, let what, let size, let limit):
            "\(path): \(what) of \(size) exceeds the limit of \(limit); nothing was written"
        case .diskFull(let path):
            "\(path): no space left on the device, nothing was written; free space and retry"
        case .database(let error): error.description
        case .disk(let error): error.description
        }
    }
}
