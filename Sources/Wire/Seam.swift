public import Model

/// What a volume server reports of itself: at start, when something changed, and every pulse.
public struct ServerReport: Sendable, Hashable {
    /// The server's identity, stable over restarts and moves.
    public var id: String
    /// `host:port` as peers reach it.
    public var url: String
    /// `host:port` as clients reach it.
    public var publicURL: String
    /// Port of its gRPC service.
    public var grpcPort: Int
    /// Where it stands; empty for the default.
    public var dataCenter: String
    /// Where it stands; empty for the default.
    public var rack: String
    /// How many volumes it may hold, by disk type ("" is `hdd`).
    public var maxVolumes: [String: Int]
    /// Every volume it has.
    public var volumes: [VolumeInfo]
    /// Why directories take no new volumes, by directory; empty when all do.
    public var directoryProblems: [String: String]
    /// One lasting id per data directory; empty when only ``id`` is known.
    public var directoryIDs: [String] = []

    /// A report.
    public init(
        id: String, url: String, publicURL: String, grpcPort: Int, dataCenter: String = "",
        rack: String = "", maxVolumes: [String: Int], volumes: [VolumeInfo],
        directoryProblems: [String: String] = [:]
    ) {
        self.id = id
        self.url = url
        self.publicURL = publicURL
        self.grpcPort = grpcPort
        self.dataCenter = dataCenter
        self.rack = rack
        self.maxVolumes = maxVolumes
        self.volumes = volumes
        self.directoryProblems = directoryProblems
    }
}

/// The leader's answer to a report.
public struct ReportReply: Sendable, Hashable {
    /// Bytes above which a volume is no longer given out for writing.
    public var volumeSizeLimit: UInt64
    /// The cluster's identity; a volume server remembers it and refuses others.
    public var topologyID: String
    /// Addresses of every master known.
    public var masters: [String]

    /// A reply.
    public init(volumeSizeLimit: UInt64, topologyID: String, masters: [String]) {
        self.volumeSizeLimit = volumeSizeLimit
        self.topologyID = topologyID
        self.masters = masters
    }
}

/// What a master asks of a volume server.
public protocol VolumeServerPeer: Sendable {
    /// Creates an empty volume; durable, directory entry included, when it returns.
    func allocateVolume(_ request: AllocateVolume) async throws(PeerError)
    /// Deletes a volume and its files.
    func deleteVolume(_ id: VolumeID) async throws(PeerError)
    /// Deletes every volume of a collection.
    func deleteCollection(_ name: String) async throws(PeerError)
    /// The share of garbage in a volume, 0 to 1.
    func vacuumCheck(_ id: VolumeID) async throws(PeerError) -> Double
    /// Copies the live needles of a volume aside; the volume keeps serving.
    func vacuumCompact(_ id: VolumeID) async throws(PeerError)
    /// Switches the volume to the copy.
    ///
    /// Returns whether it is read-only afterwards, and its size.
    func vacuumCommit(
        _ id: VolumeID
    ) async throws(PeerError) -> (isReadOnly: Bool, size: UInt64)
    /// Discards the copy.
    func vacuumCleanup(_ id: VolumeID) async throws(PeerError)
}

/// What a volume server asks of a master.
public protocol MasterPeer: Sendable {
    /// Tells the leader everything about this server.
    ///
    /// Reports come in order; each replaces the one before.
    func report(
        _ report: ServerReport, from peer: any VolumeServerPeer
    ) async throws(PeerError) -> ReportReply
    /// The server has gone: its volumes leave the writable ones at once.
    func disconnected(_ serverID: String) async
    /// `host:port` of the servers that hold a volume; empty when none is known.
    func locations(of volume: VolumeID) async throws(PeerError) -> [String]
}

/// A volume to create.
public struct AllocateVolume: Sendable, Hashable {
    /// Its number.
    public var id: VolumeID
    /// Its collection; empty for the default one.
    public var collection: String
    /// Where copies go.
    public var replication: ReplicaPlacement
    /// The time to live of its files.
    public var ttl: TimeToLive
    /// Disk type; empty for `hdd`.
    public var diskType: String
    /// Bytes to reserve on disk; 0 for none.
    public var preallocate: UInt64

    /// A volume to create.
    public init(
        id: VolumeID, collection: String = "", replication: ReplicaPlacement = .single,
        ttl: TimeToLive = .none, diskType: String = "", preallocate: UInt64 = 0
    ) {
        self.id = id
        self.collection = collection
        self.replication = replication
        self.ttl = ttl
        self.diskType = diskType
        self.preallocate = preallocate
    }
}

/// A peer could not be reached or would not do what was asked.
public struct PeerError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What kind of failure it was.
    public enum Kind: Sendable, Equatable {
        /// No such volume or collection there.
        case notFound
        /// It was refused for a reason that will not go away by itself.
        case refused
        /// It failed; another try may succeed.
        case failed
        /// The peer did not answer.
        case unreachable
    }
    /// What kind of failure it was.
    public var kind: Kind
    /// What, where, expected, found.
    public var description: String

    /// A failure.
    public init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }
}
