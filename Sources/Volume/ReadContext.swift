internal import Logging
internal import Model
internal import NIOCore
internal import NIOPosix
internal import Needles
import Synchronization

/// What to do with a read of a volume that is not here.
enum ReadMode: String, Sendable, CaseIterable {
    /// Answer 404.
    case local
    /// Fetch it from a server that has it.
    case proxy
    /// Send the client to a server that has it.
    case redirect
}

/// What serving reads takes; one per server.
final class ReadContext: Sendable {
    /// The volumes here.
    let store: VolumeStore
    /// Threads for reads that may block on the disk.
    ///
    /// What waits for them is bounded by the connections: each has one request at a time.
    let pool: NIOThreadPool
    /// What to do with volumes that are not here.
    let readMode: ReadMode
    /// The value of the `Server` header.
    let serverHeader: String
    /// Finds the chunks of large files.
    let chunks: any ChunkFetcher
    /// Knows where other volumes are; `nil` on a server without a master.
    let holders: HolderTable?
    /// Fetches from other servers; without one, `proxy` answers 404 for what is not here.
    let forwarder: (any ReadForwarder)?
    /// Where faults are told.
    let failures: ReadFailureLog

    /// A context.
    ///
    /// Without `chunks`, those in local volumes are found.
    init(
        store: VolumeStore, pool: NIOThreadPool, readMode: ReadMode, serverHeader: String,
        holders: HolderTable?, logger: Logger, chunks: (any ChunkFetcher)? = nil,
        forwarder: (any ReadForwarder)? = nil
    ) {
        self.store = store
        self.pool = pool
        self.readMode = readMode
        self.serverHeader = serverHeader
        self.chunks = chunks ?? LocalChunkFetcher(store: store, pool: pool)
        self.holders = holders
        self.forwarder = forwarder
        failures = ReadFailureLog(logger)
    }
}

/// Tells of each damaged file once, however often clients ask for it.
final class ReadFailureLog: Sendable {
    /// Files remembered as told; then all are forgotten and may be told again.
    static let maxRemembered = 4096

    private let told = Mutex<Set<FileID>>([])
    private let logger: Logger

    /// An empty memory.
    init(_ logger: Logger) { self.logger = logger }

    /// Logs a failed read, unless the file was told of before.
    ///
    /// Returns whether it was logged.
    @discardableResult
    func report(_ id: FileID, _ error: any Error) -> Bool {
        let isNew = told.withLock { told in
            if told.count >= ReadFailureLog.maxRemembered { told.removeAll(keepingCapacity: true) }
            return told.insert(id).inserted
        }
        if isNew { logger.error("read of \(id) failed: \(error)") }
        return isNew
    }
}
