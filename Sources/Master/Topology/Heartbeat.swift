import Model
import Wire

/// Numbers the ways servers reach this master: a stream, or ``ServerLink/inProcess``.
typealias ConnectionID = UInt64

/// How a volume server is connected.
struct ServerLink: Sendable {
    /// The number of every server in this process.
    static let inProcess: ConnectionID = 0

    /// Grows with every stream; of two for one server the later counts.
    let connection: ConnectionID
    let peer: any VolumeServerPeer
}

/// Who a volume server is and where it stands.
struct ServerIdentity: Sendable, Hashable {
    /// Stable over restarts and moves.
    var id: String
    /// `host:port` as peers reach it.
    var url: String
    /// `host:port` as clients reach it; empty for `url`.
    var publicURL = ""
    var grpcPort = 0
    /// Empty for the default.
    var dataCenter = ""
    /// Empty for the default.
    var rack = ""
    /// One lasting id per data directory; empty when it does not tell.
    var directories: Set<String> = []
}

/// One message of a volume server, whichever way it came.
struct Heartbeat: Sendable {
    var server: ServerIdentity
    /// How many volumes it may hold, by disk type; empty says nothing, a 0 changes nothing.
    var maxVolumes: [String: Int] = [:]
    /// The largest needle key it holds.
    var largestKey: NeedleKey = 0
    /// Every volume it has; `nil` when the message says nothing of the whole.
    var volumes: [VolumeInfo]?
    /// Volumes that appeared or changed; sizes are not known.
    var added: [VolumeInfo] = []
    /// Volumes that went.
    var removed: [VolumeID] = []
    /// It takes no new volumes; `nil` says nothing.
    var isInMaintenance: Bool?
    /// Why directories take no new volumes; `nil` says nothing.
    var problems: [String: String]?
    /// The cluster it remembers; empty when it does not tell.
    var topologyID = ""
}

extension Heartbeat {
    /// Every volume that the message names as present.
    var lists: [[VolumeInfo]] { [volumes ?? [], added] }

    /// A report over the seam inside a process.
    init(_ report: ServerReport) {
        server = ServerIdentity(
            id: report.id, url: report.url, publicURL: report.publicURL,
            grpcPort: report.grpcPort, dataCenter: report.dataCenter, rack: report.rack,
            directories: Set(report.directoryIDs))
        maxVolumes = report.maxVolumes
        volumes = report.volumes
        problems = report.directoryProblems
    }
}

/// Why a volume server's message is not taken.
enum HeartbeatRefusal: Error, Sendable, Hashable, CustomStringConvertible {
    case nameless
    case tooLong(field: String, server: String, bytes: Int)
    case tooMany(what: String, server: String, found: Int, limit: Int)
    case foreignTopology(server: String, theirs: String, ours: String)
    case duplicateServer(id: String, url: String, other: String)
    case duplicateDirectories(ids: [String], url: String, other: String)
    case replaced(server: String)

    var description: String {
        switch self {
        case .nameless: "a volume server's report must name its id and address"
        case .tooLong(let field, let server, let bytes):
            "\(server): its \(field) has \(bytes) bytes, at most \(Topology.nameBytes) are taken"
        case .tooMany(let what, let server, let found, let limit):
            "\(server) reports \(found) \(what), at most \(limit) are taken"
        case .foreignTopology(let server, let theirs, let ours):
            "\(server) belongs to cluster \(theirs), this master to \(ours): check -master there, "
                + "or give the server empty directories"
        case .duplicateServer(let id, let url, let other):
            "volume server id \(id) is reported by \(url), but \(other) is connected with it: "
                + "give one of them another -id"
        case .duplicateDirectories(let ids, let url, let other):
            "\(url) serves directories that \(other) serves too (\(ids.joined(separator: ", "))): "
                + "stop one of them; a copied directory needs an id of its own"
        case .replaced(let server):
            "\(server) has opened a later stream: this one is over"
        }
    }
}

extension Topology {
    /// Bytes of an id, address, data center, rack, collection or disk type.
    static let nameBytes = 255
    /// Volume servers connected.
    static let serverLimit = 10_000
    /// Volumes of one server.
    static let serverVolumeLimit = 1 << 17
    /// Volumes of the whole cluster, copies counted.
    static let volumeLimit = 1 << 21
    /// Data directories, and disk types, of one server.
    static let directoryLimit = 256

    /// Refuses what is absurd before anything is done with it.
    func checkBounds(_ beat: Heartbeat) throws(HeartbeatRefusal) {
        let server = beat.server
        guard !server.id.isEmpty, !server.url.isEmpty else { throw .nameless }
        let names = [
            ("id", server.id), ("address", server.url), ("public address", server.publicURL),
            ("data center", server.dataCenter), ("rack", server.rack),
        ]
        for (field, text) in names where text.utf8.count > Topology.nameBytes {
            throw .tooLong(
                field: field, server: String(server.url.prefix(64)), bytes: text.utf8.count)
        }
        let most = [
            ("volumes", beat.volumes?.count ?? 0, Topology.serverVolumeLimit),
            ("changed volumes", beat.added.count + beat.removed.count, Topology.serverVolumeLimit),
            ("directories", server.directories.count, Topology.directoryLimit),
            ("disk types", beat.maxVolumes.count, Topology.directoryLimit),
        ]
        for (what, found, limit) in most where found > limit {
            throw .tooMany(what: what, server: server.url, found: found, limit: limit)
        }
        for list in beat.lists {
            for volume in list {
                let bytes = max(volume.collection.utf8.count, volume.diskType.utf8.count)
                guard bytes <= Topology.nameBytes else {
                    throw .tooLong(
                        field: "collection or disk type of volume \(volume.id)",
                        server: server.url, bytes: bytes)
                }
            }
        }
        let held = serverKey(server.id).flatMap { servers[$0]?.volumes.count } ?? 0
        let rest = copyCount - held
        let wanted = rest + max(beat.volumes?.count ?? held, held + beat.added.count)
        if beat.volumes != nil || !beat.added.isEmpty, wanted > Topology.volumeLimit {
            throw .tooMany(
                what: "volumes with all others", server: server.url, found: wanted,
                limit: Topology.volumeLimit)
        }
    }

    /// Whether a server may join or go on, and which ones it takes the place of.
    ///
    /// A later stream of the same server replaces the earlier one: the end of the earlier may not
    /// have been seen yet. The same id with other directories, or the same directories under
    /// another id and address, is somebody else.
    func checkIdentity(
        _ server: ServerIdentity, on connection: ConnectionID
    ) throws(HeartbeatRefusal) -> [ServerKey] {
        var replaced: Set<ServerKey> = []
        if let key = serverKey(server.id), let known = servers[key],
            known.link.connection != connection
        {
            if connection < known.link.connection { throw .replaced(server: known.url) }
            let theirs = known.directories
            let isSame =
                theirs.isEmpty || server.directories.isEmpty
                ? known.url == server.url : !theirs.isDisjoint(with: server.directories)
            guard isSame else {
                throw .duplicateServer(
                    id: server.id,
                    url: Topology.place(server.url, server.directories.subtracting(theirs)),
                    other: Topology.place(known.url, theirs.subtracting(server.directories)))
            }
        }
        var clashes: [ServerKey: [String]] = [:]
        for directory in server.directories {
            guard let owner = directoryOwners[directory], let known = servers[owner],
                known.id != server.id
            else { continue }
            clashes[owner, default: []].append(directory)
        }
        for (owner, directories) in clashes {
            guard let known = servers[owner] else { continue }
            // At one address there is one process: it got another id.
            guard known.url == server.url else {
                throw .duplicateDirectories(
                    ids: directories.sorted(), url: server.url, other: known.url)
            }
            replaced.insert(owner)
        }
        if serverKey(server.id) == nil {
            replaced.formUnion(servers.values.filter { $0.url == server.url }.map(\.key))
            guard servers.count - replaced.count < Topology.serverLimit else {
                throw .tooMany(
                    what: "servers with itself", server: server.url, found: servers.count + 1,
                    limit: Topology.serverLimit)
            }
        }
        return replaced.sorted()
    }

    private static func place(_ url: String, _ directories: Set<String>) -> String {
        guard let first = directories.min() else { return url }
        return "\(url) (directory \(first))"
    }
}
