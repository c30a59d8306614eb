import Glibc
import LMDB
import Platform
import Synchronization

/// A master's durable log, votes and state in one directory, `<mdir>/raft/`.
///
/// - The directory's lock is taken before anything in it is opened; one process owns it.
/// - What a call wrote is durable when it returns. If it throws, nothing of it is kept.
/// - Everything is verified when it is opened. A record that fails its checksum is never cut off.
/// - Calls block; any thread may make them, writes run one after the other.
public final class RaftLog: Sendable {
    /// Bytes of an entry's payload, at most.
    public static let maxPayloadBytes = 1 << 20
    /// Bytes of a state, at most.
    public static let maxStateBytes = 16 << 20
    /// Entries of a batch, at most.
    public static let maxBatchEntries = 4096
    /// Entries that compaction leaves, so that a slow follower needs no snapshot.
    public static let keptEntries: UInt64 = 8192

    /// The directory as given.
    public let directory: String
    /// The node's identity: random, made with the directory, never from an address.
    public let nodeID: UInt64
    let environment: Environment
    let tables: Tables
    private let disk = PosixDisk()
    private let cluster: Mutex<ClusterID?>
    private let created: String
    private let lock: Mutex<DirectoryLock?>

    struct Tables: Sendable {
        let meta, log, state: Table
    }

    /// Opens the log, or begins one in an empty or missing directory, and verifies all of it.
    ///
    /// Blocks. Throws `.inUse`, `.lostLog`, `.damaged`, `.mixed` and what else stands in the way;
    /// an existing log is never changed by a failed opening.
    public init(directory: String) throws(RaftLogError) {
        try Self.make(directory, disk)
        let lock = try Self.takeLock(directory)
        let identity = try Identity.load(directory, disk)
        let environment = try Self.open(directory, identity)
        let tables: Tables
        do throws(LMDBError) {
            tables = Tables(
                meta: try environment.table("meta"), log: try environment.table("log"),
                state: try environment.table("sm"))
        } catch {
            throw RaftLogError(error)
        }
        let contents = Contents(environment: environment, tables: tables)
        let found = try contents.identity()
        if found == nil, let identity {
            throw Self.lost(identity, "\(environment.path) holds no node")
        }
        let owner = if let found { found } else { try contents.begin() }
        created = identity?.created ?? Identity.now()
        let current = Identity(node: owner.node, cluster: owner.cluster, created: created)
        if let identity { try Self.compare(identity, current, directory) }
        if found != nil { try contents.verify() }
        // Also after a crash between the log's first record, or its cluster's, and this file.
        if identity != current { try current.store(directory, disk) }
        self.directory = directory
        self.environment = environment
        self.tables = tables
        nodeID = owner.node
        cluster = Mutex(owner.cluster)
        self.lock = Mutex(lock)
    }

    /// The cluster the node belongs to, `nil` until that is known.
    public var clusterID: ClusterID? { cluster.withLock { $0 } }

    /// The node's identity in text, 16 hexadecimal digits.
    public var nodeName: String { Hexadecimal.text(nodeID) }

    /// Makes the node a member of a cluster, once and for ever; the same again is harmless.
    public func setClusterID(_ id: ClusterID) throws(RaftLogError) {
        let contents = contents
        try contents.transact { (txn, refuse) throws(LMDBError) in
            if let stored = try contents.clusterID(txn.reading, &refuse) {
                guard stored == id else {
                    throw refuse("this node belongs to cluster \(stored), not to \(id)")
                }
                return
            }
            try contents.putClusterID(id, txn)
        }
        cluster.withLock { $0 = id }
        try Identity(node: nodeID, cluster: id, created: created).store(directory, disk)
    }

    /// Closes the log and gives the directory free.
    ///
    /// Later calls throw. Harmless twice.
    public func close() {
        environment.close()
        lock.withLock { $0 = nil }
    }

    var contents: Contents { Contents(environment: environment, tables: tables) }
}

extension RaftLog {
    /// Makes the directory, durably, if it is not there.
    private static func make(_ directory: String, _ disk: PosixDisk) throws(RaftLogError) {
        guard !disk.exists(directory) else { return }
        guard unsafe mkdir(directory, 0o755) == 0 || errno == EEXIST else {
            throw RaftLogError(DiskError(call: "mkdir", path: directory, code: errno))
        }
        do throws(DiskError) {
            try disk.syncDirectory(parent(directory))
        } catch {
            throw RaftLogError(error)
        }
    }

    private static func parent(_ directory: String) -> String {
        var path = directory[...]
        while path.utf8.count > 1, path.hasSuffix("/") { path.removeLast() }
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    private static func takeLock(_ directory: String) throws(RaftLogError) -> DirectoryLock {
        do throws(DirectoryLock.Failure) {
            return try DirectoryLock(path: directory + "/owner.lock")
        } catch {
            switch error {
            case .held(let owner): throw .inUse(directory: parent(directory), process: owner)
            case .disk(let error): throw RaftLogError(error)
            }
        }
    }

    private static func open(
        _ directory: String, _ identity: Identity?
    ) throws(RaftLogError) -> Environment {
        var options = Environment.Options(tables: Schema.tables)
        options.mapSize = 1 << 30
        options.maxMapSize = 1 << 36
        options.createIfMissing = identity == nil
        let path = directory + "/data.mdb"
        do throws(LMDBError) {
            return try Environment(path: path, options: options)
        } catch {
            guard let identity else { throw RaftLogError(error) }
            switch error {
            case .truncated(_, let expected, let found):
                throw lost(identity, "\(path): expected \(expected) bytes, found \(found)")
            case .io(_, ENOENT): throw lost(identity, "\(path) is missing or empty")
            default: throw RaftLogError(error)
            }
        }
    }

    private static func lost(_ identity: Identity, _ detail: String) -> RaftLogError {
        .lostLog(
            node: Hexadecimal.text(identity.node), cluster: identity.clusterText, detail: detail)
    }

    /// `IDENTITY` may lag behind the log by a cluster, not differ.
    private static func compare(
        _ file: Identity, _ log: Identity, _ directory: String
    ) throws(RaftLogError) {
        guard file.node == log.node else {
            throw .mixed(
                directory: directory, field: "node", identity: Hexadecimal.text(file.node),
                log: Hexadecimal.text(log.node))
        }
        guard file.cluster == nil || file.cluster == log.cluster else {
            throw .mixed(
                directory: directory, field: "cluster", identity: file.clusterText,
                log: log.clusterText)
        }
    }
}
