internal import Glibc
public import Logging
internal import Model
internal import Platform
internal import Synchronization

/// The volumes of one server, in all its directories.
public final class VolumeStore: Sendable {
    enum Slot: Sendable {
        case open(Volume)
        case opening(directory: Int, VolumeName)
        case failed(directory: Int, VolumeName, String)
    }

    struct State {
        var slots: [VolumeID: Slot] = [:]
        var report: [String] = []
        var isClosed = false
    }

    /// What the store's own threads hold of it.
    ///
    /// Not the store: with weak references to it, each use of it by a request would take a slower
    /// path.
    final class Table: Sendable {
        let state = Mutex(State())
        let changeHandlers = Mutex<[@Sendable () -> Void]>([])

        /// The volumes that serve, in the order of their numbers.
        var volumes: [Volume] {
            state.withLock { state in
                state.slots.values.compactMap {
                    if case .open(let volume) = $0 { volume } else { nil }
                }
            }.sorted { $0.id < $1.id }
        }

        func changed() {
            for handler in changeHandlers.withLock({ $0 }) { handler() }
        }
    }

    /// Threads that open volumes at start.
    static let openers = 2

    let configuration: StoreConfiguration
    private let sizeLimit: Atomic<UInt64>
    /// Directories that were below the floor when last looked at.
    let lowDirectories = Mutex<Set<String>>([])
    let logger: Logger
    let table = Table()
    let committers: WorkerPool
    let maintainers: WorkerPool
    private let ticker: WorkerPool
    private let opener: WorkerPool
    private let locks: Mutex<[DirectoryLock]>
    /// The server's identity, made on the first start and kept in the first directory.
    public let serverID: String
    /// One lasting id per directory, in their order; the first is ``serverID``.
    public let directoryIDs: [String]

    /// Bytes a full volume takes, as the configuration or later the master says.
    public var volumeSizeLimit: UInt64 {
        get { sizeLimit.load(ordering: .relaxed) }
        set { sizeLimit.store(newValue, ordering: .relaxed) }
    }

    /// Locks the directories and opens every volume found.
    ///
    /// Blocks, but not longer than ``StoreConfiguration/openWaitSeconds`` for indexes that must be
    /// built.
    ///
    /// Throws when a directory cannot be made or is in use by another process. One bad volume never
    /// stops the others: ``lookup(_:)`` says what is the matter with it.
    public init(_ configuration: StoreConfiguration, logger: Logger) throws(NeedleError) {
        guard !configuration.directories.isEmpty else {
            throw .invalid("a volume server needs at least one directory")
        }
        self.configuration = configuration
        sizeLimit = Atomic(configuration.volumeSizeLimit)
        self.logger = logger
        var locks: [DirectoryLock] = []
        for directory in configuration.directories {
            locks.append(try VolumeStore.prepare(directory))
        }
        self.locks = Mutex(locks)
        var ids: [String] = []
        for directory in configuration.directories {
            ids.append(try VolumeStore.identity(in: directory.path, disk: configuration.disk))
        }
        serverID = ids[0]
        directoryIDs = ids
        committers = WorkerPool(name: "commit", count: max(1, configuration.commitThreads))
        maintainers = WorkerPool(name: "maintain", count: 2)
        opener = WorkerPool(name: "open", count: VolumeStore.openers)
        ticker = WorkerPool(name: "tick", count: 1)
        openAll()
        ticker.submit { [table] in VolumeStore.tick(table, configuration) }
    }

    deinit { table.state.withLock { $0.isClosed = true } }

    private static func prepare(
        _ directory: StoreConfiguration.Directory
    ) throws(NeedleError) -> DirectoryLock {
        for path in [directory.path, directory.indexPath].compactMap({ $0 }) {
            try makeDirectories(path)
        }
        return try DirectoryLock.engine(directory.path)
    }

    /// Makes a directory and those above it.
    static func makeDirectories(_ path: String) throws(NeedleError) {
        var made = path.hasPrefix("/") ? "/" : ""
        for part in path.split(separator: "/") {
            made += made.isEmpty || made.hasSuffix("/") ? String(part) : "/" + part
            guard unsafe mkdir(made, 0o755) == 0 || errno == EEXIST || errno == EISDIR else {
                throw NeedleError(DiskError(call: "mkdir", path: made, code: errno))
            }
        }
    }

    /// Reads `vol_dir.uuid`, or makes it: 36 characters, no newline, as the original has it.
    private static func identity(
        in directory: String, disk: any Disk
    ) throws(NeedleError) -> String {
        let path = directory + "/vol_dir.uuid"
        let disk = PosixDisk()
        if let bytes = try? disk.readFile(path, limit: 4096) {
            let text = String(decoding: bytes.prefix { $0 > 0x20 }, as: UTF8.self)
            if text.count == 36 { return text }
        }
        let uuid = randomUUID()
        try Needles.disk { () throws(DiskError) in
            try disk.replaceFile(path, in: directory, with: Array(uuid.utf8))
        }
        return uuid
    }

    private static func randomUUID() -> String {
        var bytes = (0..<16).map { _ in UInt8.random(in: .min ... .max) }
        bytes[6] = bytes[6] & 0x0f | 0x40
        bytes[8] = bytes[8] & 0x3f | 0x80
        let digits = bytes.map { ($0 < 16 ? "0" : "") + hex($0) }
        return [0..<4, 4..<6, 6..<8, 8..<10, 10..<16].map { digits[$0].joined() }
            .joined(separator: "-")
    }

    func environment() -> VolumeEnvironment {
        VolumeEnvironment(
            disk: configuration.disk, sync: configuration.sync, committers: committers,
            maintainers: maintainers, logger: logger,
            compactionBytesPerSecond: configuration.compactionBytesPerSecond,
            onChange: { [table] in table.changed() }, now: { WallClock.nanoseconds })
    }

    func run(opening job: @escaping @Sendable () -> Void) { opener.submit(job) }

    /// Every second, or as often as syncing at intervals asks: syncs, and brings idle indexes up to
    /// date.
    private static func tick(_ table: Table, _ configuration: StoreConfiguration) {
        var elapsed = 0
        while true {
            var pause = 200
            if case .interval(let milliseconds) = configuration.sync {
                pause = max(1, min(200, milliseconds))
            }
            usleep(UInt32(pause) * 1000)
            guard !table.state.withLock({ $0.isClosed }) else { return }
            elapsed += pause
            if case .interval = configuration.sync {
                for volume in table.volumes { try? volume.syncIfDirty() }
            }
            if elapsed >= configuration.checkpointSeconds * 1000 {
                elapsed = 0
                for volume in table.volumes { volume.checkpointIfStale() }
            }
        }
    }

    /// Finishes queued writes, brings every index up to date, unlocks.
    ///
    /// Blocks.
    public func close() {
        let first = table.state.withLock { state in
            defer { state.isClosed = true }
            return !state.isClosed
        }
        guard first else { return }
        opener.shutdown()
        ticker.shutdown()
        for volume in volumes { volume.close() }
        maintainers.shutdown()
        committers.shutdown()
        locks.withLock { $0 = [] }
    }

    /// Adds a handler that is called after anything a master should hear of at once: a volume
    /// created, deleted, or turned read-only.
    ///
    /// Any thread.
    public func onChange(_ body: @escaping @Sendable () -> Void) {
        table.changeHandlers.withLock { $0.append(body) }
    }

    func changed() { table.changed() }
}
