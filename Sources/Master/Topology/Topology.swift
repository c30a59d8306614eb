import Model
import Wire

/// A volume, wherever it is.
struct VolumeEntry {
    let id: VolumeID
    /// Index of its layout.
    var layout: Int
    /// Servers that have it, by address.
    var holders: [ServerKey] = []
    /// A copy of it is being compacted.
    var isVacuuming = false
    /// Why it takes no new files; `nil` when it does.
    var reason: UnwritableReason?
    /// The `locations` of a look-up's answer; empty when they are to be written anew.
    var locations: [UInt8] = []
}

/// Why a volume takes no new files.
enum UnwritableReason: Sendable, Hashable, CustomStringConvertible {
    case readOnly(server: String, why: String)
    case full(size: UInt64, limit: UInt64)
    case missingCopies(have: Int, want: Int)
    case vacuuming
    case copiesDiffer
    case idNotAccepted

    var description: String {
        switch self {
        case .readOnly(let server, let why): "read-only on \(server): \(why)"
        case .full(let size, let limit): "full: \(size) bytes, the limit is \(limit)"
        case .missingCopies(let have, let want): "\(have) of \(want) copies connected"
        case .vacuuming: "being vacuumed"
        case .copiesDiffer: "its copies disagree about collection, replication, ttl or disk type"
        case .idNotAccepted: "its id is too far above the cluster's largest volume id"
        }
    }
}

/// Servers and volumes as last reported: soft state that a restart forgets and reports restore.
struct Topology {
    /// Bytes from which on a volume takes no new files.
    let volumeSizeLimit: UInt64
    /// Volumes above this id do not count yet; see ``MasterState/maxVolumeID``.
    private(set) var acceptedVolumeID: VolumeID

    private(set) var servers: [ServerKey: ServerNode] = [:]
    private(set) var volumes: [VolumeID: VolumeEntry] = [:]
    /// Layouts by index; those without volumes are free to be used again.
    var layouts: [Layout] = []
    private var layoutIndexes: [LayoutKey: Int] = [:]
    private var unusedLayouts: [Int] = []
    private var serverKeys: [String: ServerKey] = [:]
    private var nextServerKey: ServerKey = 0
    /// Racks ever seen, by data center: an empty rack stays visible.
    private(set) var racks: [String: Set<String>] = [:]

    /// Racks remembered per data center, and data centers.
    static let rememberedRacks = 10_000

    init(volumeSizeLimit: UInt64, acceptedVolumeID: VolumeID) {
        self.volumeSizeLimit = volumeSizeLimit
        self.acceptedVolumeID = acceptedVolumeID
    }

    // MARK: Servers

    /// Takes a server's report; it replaces the one before.
    mutating func report(_ report: ServerReport, from peer: any VolumeServerPeer) {
        let key = register(report, peer)
        // Taken out, so that changing its volumes does not copy them all.
        guard var server = servers.removeValue(forKey: key) else { return }
        var changed = Set<VolumeID>()
        let everything = server.update(report)
        rememberRack(server)
        var reported = Set<VolumeID>(minimumCapacity: report.volumes.count)
        for info in report.volumes where reported.insert(info.id).inserted {
            // The report of a volume that grew is the usual case: its copy is refreshed below.
            if let held = server.volumes[info.id], held.info == info, held.mayBeMissing == 0 {
                continue
            }
            server.hold(HeldVolume(info: info))
            changed.insert(info.id)
        }
        for id in server.volumes.keys where !reported.contains(id) && server.missed(id) {
            server.drop(id)
            changed.insert(id)
        }
        servers[key] = server
        for id in changed { setHolder(key, of: id) }
        if everything {
            changed.formUnion(server.volumes.keys)
            for id in changed { volumes[id]?.locations = [] }
        }
        for id in changed { refresh(id) }
    }

    /// The server has gone, and its volumes with it.
    mutating func disconnect(_ id: String) {
        guard let key = serverKeys.removeValue(forKey: id),
            let server = servers.removeValue(forKey: key)
        else { return }
        for volume in server.volumes.keys {
            setHolder(key, of: volume)
            refresh(volume)
        }
    }

    /// Changes a server in place, slots and flags only.
    mutating func withServer(_ key: ServerKey, _ body: (inout ServerNode) -> Void) {
        guard let index = servers.index(forKey: key) else { return }
        body(&servers.values[index])
    }

    func serverKey(_ id: String) -> ServerKey? { serverKeys[id] }

    /// The number of a reporting server.
    ///
    /// A server with a new connection replaces the old one; another server at the address of a
    /// known one means that the known one is gone.
    private mutating func register(
        _ report: ServerReport, _ peer: any VolumeServerPeer
    ) -> ServerKey {
        if let key = serverKeys[report.id] { return key }
        if let previous = servers.values.first(where: { $0.url == report.url }) {
            disconnect(previous.id)
        }
        nextServerKey += 1
        serverKeys[report.id] = nextServerKey
        servers[nextServerKey] = ServerNode(key: nextServerKey, report: report, peer: peer)
        return nextServerKey
    }

    private mutating func rememberRack(_ server: ServerNode) {
        guard racks[server.dataCenter] != nil || racks.count < Topology.rememberedRacks,
            racks[server.dataCenter]?.count ?? 0 < Topology.rememberedRacks
        else { return }
        racks[server.dataCenter, default: []].insert(server.rack)
    }

    // MARK: Volumes

    /// A volume was made on servers; it is writable at once.
    mutating func created(_ info: VolumeInfo, on keys: [ServerKey]) {
        for key in keys where servers[key] != nil {
            // One report may be under way without it, another may have been begun before it.
            withServer(key) { $0.hold(HeldVolume(info: info, mayBeMissing: 2)) }
            setHolder(key, of: info.id)
        }
        refresh(info.id)
    }

    /// Volumes up to this id count from now on.
    mutating func accept(_ id: VolumeID) {
        guard id > acceptedVolumeID else { return }
        acceptedVolumeID = id
        for entry in volumes.values where entry.reason == .idNotAccepted { refresh(entry.id) }
    }

    /// A volume was deleted on a server.
    mutating func deleted(_ id: VolumeID, on key: ServerKey) {
        withServer(key) { $0.drop(id) }
        setHolder(key, of: id)
        refresh(id)
    }

    /// Changes what is known of a server's copy before its next report.
    mutating func withCopy(
        of id: VolumeID, on key: ServerKey, _ body: (inout VolumeInfo) -> Void
    ) {
        guard var held = servers[key]?.volumes[id] else { return }
        body(&held.info)
        withServer(key) { $0.hold(held) }
        refresh(id)
    }

    /// Marks a volume as being vacuumed or no longer so.
    mutating func setVacuuming(_ id: VolumeID, _ flag: Bool) {
        volumes[id]?.isVacuuming = flag
        refresh(id)
    }

    func layoutIndex(_ key: LayoutKey) -> Int? { layoutIndexes[key] }

    /// The layouts that have volumes, in the order shown.
    var shownLayouts: [Layout] {
        layoutIndexes.values.map { layouts[$0] }.sorted { $0.key.isBefore($1.key) }
    }

    /// The info of each copy, in the order of `holders`.
    func copies(_ entry: VolumeEntry) -> [VolumeInfo] {
        entry.holders.compactMap { servers[$0]?.volumes[entry.id]?.info }
    }

    /// Brings a volume's holders in line with what the server has.
    private mutating func setHolder(_ key: ServerKey, of id: VolumeID) {
        let has = servers[key]?.volumes[id] != nil
        if volumes[id] == nil {
            guard has, let info = servers[key]?.volumes[id]?.info else { return }
            let layout = makeLayout(LayoutKey(info))
            layouts[layout].volumes.insert(id)
            volumes[id] = VolumeEntry(id: id, layout: layout)
        }
        guard var entry = volumes[id], has != entry.holders.contains(key) else { return }
        if has {
            entry.holders.append(key)
            entry.holders.sort { (servers[$0]?.url ?? "") < (servers[$1]?.url ?? "") }
        } else {
            entry.holders.removeAll { $0 == key }
        }
        entry.locations = []
        volumes[id] = entry
    }

    private mutating func makeLayout(_ key: LayoutKey) -> Int {
        if let index = layoutIndexes[key] { return index }
        let index = unusedLayouts.popLast() ?? layouts.count
        if index == layouts.count {
            layouts.append(Layout(key: key))
        } else {
            layouts[index] = Layout(key: key)
        }
        layoutIndexes[key] = index
        return index
    }

    private mutating func leaveLayout(_ index: Int, _ id: VolumeID) {
        layouts[index].removeWritable(id)
        layouts[index].volumes.remove(id)
        guard layouts[index].volumes.isEmpty else { return }
        layoutIndexes[layouts[index].key] = nil
        unusedLayouts.append(index)
    }

    /// Works out anew which layout a volume is in, whether it is writable, and its answers.
    mutating func refresh(_ id: VolumeID) {
        guard var entry = volumes[id] else { return }
        let copies = copies(entry)
        guard let first = copies.first else {
            leaveLayout(entry.layout, id)
            volumes[id] = nil
            return
        }
        let key = LayoutKey(first)
        if layouts[entry.layout].key != key {
            leaveLayout(entry.layout, id)
            entry.layout = makeLayout(key)
        }
        layouts[entry.layout].volumes.insert(id)
        entry.reason = reason(entry, copies)
        if entry.locations.isEmpty { entry.locations = locationsJSON(entry) }
        volumes[id] = entry
        if entry.reason == nil {
            layouts[entry.layout].setWritable(slot(entry, copies))
        } else {
            layouts[entry.layout].removeWritable(id)
        }
    }
}
