import Model

/// What volumes have in common that can take each other's files.
struct LayoutKey: Sendable, Hashable {
    var collection: String
    var replication: ReplicaPlacement
    var ttl: TimeToLive
    /// "" is `hdd`.
    var diskType: String

    init(
        collection: String = "", replication: ReplicaPlacement = .single, ttl: TimeToLive = .none,
        diskType: String = ""
    ) {
        self.collection = collection
        self.replication = replication
        self.ttl = ttl
        self.diskType = LayoutKey.canonical(diskType)
    }

    init(_ volume: VolumeInfo) {
        self.init(
            collection: volume.collection, replication: volume.replication, ttl: volume.ttl,
            diskType: volume.diskType)
    }

    /// `hdd` and "" are the same disk type.
    static func canonical(_ diskType: String) -> String { diskType == "hdd" ? "" : diskType }

    /// How a disk type is shown.
    static func shown(_ diskType: String) -> String { diskType.isEmpty ? "hdd" : diskType }

    /// Whether `self` is shown before `other`.
    func isBefore(_ other: LayoutKey) -> Bool {
        if collection != other.collection { return collection < other.collection }
        if replication != other.replication { return replication.stored < other.replication.stored }
        if ttl != other.ttl {
            return (ttl.seconds, ttl.count) < (other.ttl.seconds, other.ttl.count)
        }
        return diskType < other.diskType
    }
}

extension LayoutKey: CustomStringConvertible {
    /// As errors show it.
    var description: String {
        "{collection:\(collection) replication:\(replication) ttl:\(ttl) "
            + "disk:\(LayoutKey.shown(diskType))}"
    }
}

/// Where a new file or volume may go; empty texts leave it open.
struct Whereabouts: Sendable, Hashable {
    var dataCenter = ""
    var rack = ""
    /// `host:port` or the id of a volume server.
    var node = ""

    var isAnywhere: Bool { dataCenter.isEmpty && rack.isEmpty && node.isEmpty }
}
