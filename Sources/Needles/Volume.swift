internal import Logging
public import Model
internal import NIOCore
internal import Platform
internal import Synchronization

/// When an answered write is on disk.
public enum SyncMode: Sendable, Equatable {
    /// Before it is answered.
    case always
    /// At most so many milliseconds later.
    case interval(milliseconds: Int)
    /// When the system likes.
    case none
}

/// What the volumes of a store share.
struct VolumeEnvironment: Sendable {
    var disk: any Disk
    var sync: SyncMode
    /// Threads that write and sync; at most one job per volume at a time.
    var committers: WorkerPool
    /// Threads for checkpoints and repairs.
    var maintainers: WorkerPool
    var logger: Logger
    /// Bytes a second that compaction may copy; 0 is no limit.
    var compactionBytesPerSecond: Int
    var runway = Runway.Policy()
    /// Tells the store that something a master should know has changed.
    var onChange: @Sendable () -> Void
    /// Unix nanoseconds; a simulation has its own.
    var now: @Sendable () -> UInt64
}

/// One volume: a data file, its index, and the needles written since the index was last brought up
/// to date.
///
/// Reads run on any thread. Writes queue, and one commit thread at a time appends a batch, syncs
/// it, makes it visible and answers (`docs/ARCHITECTURE.md`, write path).
public final class Volume: Sendable {
    /// Bodies above this many bytes are read as ``StoredNeedle/Body/file(_:)``.
    public static let largeBodyBytes = 256 << 10
    /// Needles outside the index at which it is brought up to date.
    static let checkpointEntries = 65_536
    /// Bytes of records outside the index at which it is brought up to date: bounds the scan at
    /// start.
    static let checkpointBytes: UInt64 = 128 << 20
    /// Needles outside the index at which writes are refused until it has caught up.
    static let maximumRecentEntries = 1 << 20

    /// Bodies up to this size may be written on the caller's thread when no sync follows.
    static let lightBytes = 64 << 10
    /// Groups that a caller's thread commits, its own and what others queue meanwhile, before a
    /// commit thread takes over.
    static let lightRounds = 16

    /// A data file and the index that belongs to it.
    ///
    /// Compaction and repair replace both at once; readers keep the one they began with.
    final class Generation: Sendable {
        let number: UInt64
        let data: DataFile
        let index: NeedleIndex

        init(number: UInt64, data: DataFile, index: NeedleIndex) {
            self.number = number
            self.data = data
            self.index = index
        }
    }

    struct State {
        var generation: Generation
        /// Needles written since the last checkpoint began.
        var recent: [NeedleKey: IndexEntry] = [:]
        /// Needles that a checkpoint is bringing into the index.
        var sealed: [NeedleKey: IndexEntry]?
        /// Where the next record goes.
        ///
        /// Everything below is visible.
        var end: UInt64
        /// Where the last record begins; 0 when there is none.
        var lastRecord: UInt64 = 0
        /// Every record below this is in the index.
        var watermark: UInt64
        var counts: Counts
        var replication: ReplicaPlacement
        var readOnly: ReadOnlyState?
        /// Something has to be done before the first change; see `prepareForChange`.
        var preparation: Preparation?
        /// Bytes were written that no sync covers yet.
        var isDirty = false
        var isClosed = false
        var checkpointQueued = false
        /// Number of the next index file; see `VolumePaths.index(_:)`.
        var nextGeneration: UInt64
        var isCompacting = false
    }

    struct ReadOnlyState: Sendable, Equatable {
        var reason: String
        var canDelete = false
        /// Because of damage that compaction leaves behind.
        var isDamage = false
        /// Because the disk failed: nothing may be written until the volume is opened again.
        var isFault = false
    }

    /// The number of the volume.
    public let id: VolumeID
    /// The collection it belongs to; empty for the default one.
    public let collection: String
    let paths: VolumePaths
    let environment: VolumeEnvironment
    let diskID: UInt32
    let diskType: String
    let state: Mutex<State>
    let queue = Mutex(OperationQueue())
    /// Held while a checkpoint or a repair works: they exclude one another.
    ///
    /// Whoever holds it never waits for the commit thread. No request waits for it, except one that
    /// needs a damaged index repaired.
    let maintenance = Mutex(())
    /// The compaction that waits to be committed.
    let compaction = Mutex(CompactionProgress?.none)

    init(
        paths: VolumePaths, environment: VolumeEnvironment, diskID: UInt32, diskType: String,
        state: consuming sending State
    ) {
        id = paths.name.id
        collection = paths.name.collection
        self.paths = paths
        self.environment = environment
        self.diskID = diskID
        self.diskType = diskType
        self.state = Mutex(state)
    }

    /// What the volume reports of itself.
    public var info: VolumeInfo {
        state.withLock { state in
            VolumeInfo(
                id: id, collection: collection, replication: state.replication,
                ttl: state.generation.data.superBlock.ttl, diskType: diskType, diskID: diskID,
                size: state.end, fileCount: state.counts.files,
                deleteCount: state.counts.deletes, deletedByteCount: state.counts.deletedBytes,
                maxKey: state.counts.maxKey,
                modifiedAtSecond: Int64(clamping: state.counts.lastWrite / 1_000_000_000),
                version: state.generation.data.version,
                compactRevision: state.generation.data.superBlock.revision,
                readOnlyReason: state.readOnly?.reason,
                readOnlyCanDelete: state.readOnly?.canDelete ?? false)
        }
    }

    /// A number for a new index file.
    func takeGenerationNumber() -> UInt64 {
        state.withLock { state in
            defer { state.nextGeneration += 1 }
            return state.nextGeneration
        }
    }

    /// Turns the volume read-only after the disk failed and says why; the first fault stays, until
    /// the volume is opened again.
    ///
    /// Deletes are refused too, also if the volume was read-only before.
    func becomeReadOnly(_ reason: String) {
        let changed = state.withLock { state in
            guard state.readOnly?.isFault != true else { return false }
            state.readOnly = ReadOnlyState(reason: reason, isFault: true)
            return true
        }
        guard changed else { return }
        environment.logger.error("volume \(id) is read only from here on: \(reason)")
        environment.onChange()
    }

    /// Marks the volume read-only, or writable again, at an operator's wish.
    ///
    /// Not remembered over a restart. A volume whose disk failed stays as it is.
    public func setReadOnly(_ reason: String?) {
        state.withLock { state in
            guard state.readOnly?.isFault != true else { return }
            state.readOnly = reason.map { ReadOnlyState(reason: $0, canDelete: true) }
        }
        // its files may be copied from here on
        if reason != nil { enqueue(.exclusive { self.giveBackRunway() }) }
        environment.onChange()
    }
}
