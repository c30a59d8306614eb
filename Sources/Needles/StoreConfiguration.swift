public import Platform

/// What a store is made of.
public struct StoreConfiguration: Sendable {
    /// One place for volumes.
    public struct Directory: Sendable {
        /// The data files' directory; made if it does not exist.
        public var path: String
        /// The index files' directory; `nil` for the same.
        public var indexPath: String?
        /// How many volumes it may hold; 0: as many as free space has room for.
        public var maxVolumes: Int
        /// Disk type; empty for `hdd`.
        public var diskType: String

        /// A place for volumes.
        public init(
            path: String, maxVolumes: Int, diskType: String = "", indexPath: String? = nil
        ) {
            self.path = path
            self.maxVolumes = maxVolumes
            self.diskType = diskType
            self.indexPath = indexPath
        }
    }

    /// Where volumes lie.
    ///
    /// At least one.
    public var directories: [Directory]
    /// When an answered write is on disk.
    public var sync: SyncMode = .always
    /// Bytes a second that compaction may copy; 0 is no limit.
    public var compactionBytesPerSecond = 0
    /// Threads that write and sync.
    ///
    /// Volumes share them.
    public var commitThreads = 8
    /// How long opening waits for indexes to be rebuilt; the rest goes on while other volumes
    /// serve.
    public var openWaitSeconds = 5.0
    /// Bytes a full volume takes: with `maxVolumes` 0 the number of volumes follows from it.
    public var volumeSizeLimit: UInt64 = 30720 << 20
    /// Free space below which a directory takes no new volumes, until there is a tenth more than that.
    public var freeSpaceFloor = FreeSpaceFloor.percent(1)
    /// Seconds after which needles outside the index are brought into it, however few.
    public var checkpointSeconds = 30
    /// The file system.
    ///
    /// Simulations have their own.
    public var disk: any Disk = PosixDisk()

    /// A store in some directories, else by default.
    public init(directories: [Directory]) {
        self.directories = directories
    }
}

/// Free space below which a directory takes no new volumes.
public enum FreeSpaceFloor: Sendable, Equatable {
    /// A share of the disk, 0 to 100.
    case percent(Double)
    /// A number of bytes.
    case bytes(UInt64)

    /// The floor in bytes of a disk with so many.
    func bytes(of total: UInt64) -> UInt64 {
        switch self {
        case .percent(let percent):
            UInt64(Double(total) * min(max(percent, 0), 100) / 100)
        case .bytes(let bytes): bytes
        }
    }
}

/// Space and state of one directory.
public struct DirectoryStatus: Sendable, Equatable {
    /// The directory.
    public let path: String
    /// Bytes in all, used, and free for an ordinary user.
    public let all, used, free: UInt64
    /// Why it takes no new volumes; `nil` when it does.
    public let problem: String?

    /// A status.
    public init(path: String, all: UInt64, used: UInt64, free: UInt64, problem: String?) {
        self.path = path
        self.all = all
        self.used = used
        self.free = free
        self.problem = problem
    }
}

/// Where a volume is in its life on this server.
public enum VolumeLookup: Sendable {
    /// It serves.
    case open(Volume)
    /// Its index is being built: ask again in a moment.
    case opening
    /// Its files are here but cannot be used; the text says why.
    case failed(String)
    /// It is not here.
    case absent
}
