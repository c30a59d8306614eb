/// What a volume server says of one volume, to the master and on its status page.
public struct VolumeInfo: Sendable, Hashable {
    /// The volume's number.
    public var id: VolumeID
    /// The collection; empty for the default one.
    public var collection: String
    /// Where copies go.
    public var replication: ReplicaPlacement
    /// The time to live of its files.
    public var ttl: TimeToLive
    /// Disk type; empty for `hdd`.
    public var diskType: String
    /// Index of the `-dir` that holds it.
    public var diskID: UInt32
    /// Bytes in `.dat`.
    public var size: UInt64
    /// Needles ever written and not yet compacted away, deleted ones included.
    public var fileCount: UInt64
    /// Needles replaced or deleted since the last compaction.
    public var deleteCount: UInt64
    /// Bytes of replaced and deleted needles.
    public var deletedByteCount: UInt64
    /// Largest needle key in the volume.
    public var maxKey: NeedleKey
    /// When it was last written, unix seconds.
    public var modifiedAtSecond: Int64
    /// Format version, 1 to 3.
    public var version: UInt8
    /// How often it was compacted.
    public var compactRevision: UInt16
    /// Why it takes no writes; `nil` when it does.
    public var readOnlyReason: String?
    /// Whether deletes are taken although writes are not.
    public var readOnlyCanDelete: Bool

    /// An empty, writable volume.
    public init(
        id: VolumeID, collection: String = "", replication: ReplicaPlacement = .single,
        ttl: TimeToLive = .none, diskType: String = "", diskID: UInt32 = 0, size: UInt64 = 8,
        fileCount: UInt64 = 0, deleteCount: UInt64 = 0, deletedByteCount: UInt64 = 0,
        maxKey: NeedleKey = 0, modifiedAtSecond: Int64 = 0, version: UInt8 = 3,
        compactRevision: UInt16 = 0, readOnlyReason: String? = nil, readOnlyCanDelete: Bool = false
    ) {
        self.id = id
        self.collection = collection
        self.replication = replication
        self.ttl = ttl
        self.diskType = diskType
        self.diskID = diskID
        self.size = size
        self.fileCount = fileCount
        self.deleteCount = deleteCount
        self.deletedByteCount = deletedByteCount
        self.maxKey = maxKey
        self.modifiedAtSecond = modifiedAtSecond
        self.version = version
        self.compactRevision = compactRevision
        self.readOnlyReason = readOnlyReason
        self.readOnlyCanDelete = readOnlyCanDelete
    }

    /// Whether it takes no writes.
    public var isReadOnly: Bool { readOnlyReason != nil }

    /// Bytes of replaced and deleted needles as a share of all bytes, 0 to 1.
    public var garbageRatio: Double { size > 8 ? Double(deletedByteCount) / Double(size - 8) : 0 }
}
