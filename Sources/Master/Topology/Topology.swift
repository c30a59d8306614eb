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
    /// It is about to be deleted because nothing was ever written to it.
    var isRetiring = false
    /// Why it takes no new files; `nil` when it does.
    var reason: UnwritableReason?
    /// The `locations` of a look-up's answer; empty when they are to be written anew.
    var locations: [UInt8] = []
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
    /// Which server has a data directory, by the directory's lasting id.
    private(set) var directoryOwners: [String: ServerKey] = [:]
    private var ownedDirectories: [ServerKey: Set<String>] = [:]
    /// Copies of volumes on all servers.
    private(set) var copyCount = 0
    /// Where volumes came and went since somebody asked.
    var changes = LocationChanges()
    /// Racks ever seen, by data center: an empty rack stays visible.
    private(set) var racks: [String: Set<String>] = [:]

    /// Racks remembered per data center, and data centers.
    static let rememberedRacks = 10_000

    init(volumeSizeLimit: UInt64, acceptedVolumeID: VolumeID) {
        self.volumeSizeLimit = volumeSizeLimit
        self.acceptedVolumeID = acceptedVolumeID
    }

    // MARK: Servers

    /// Takes a server's message.
    ///
    /// Nothing changes when it is refused.
    mutating func take(
        _ beat: Heartbeat, from link: ServerLink, now: ContinuousClock.Instant
    ) throws(HeartbeatRefusal) {
        try checkBounds(beat)
        let replaced = try checkIdentity(beat.server, on: link.connection)
        for key in replaced { if let id = servers[key]?.id { disconnect(id) } }
        let key = register(beat.server, link)
        // Taken out, so that changing its volumes does not copy them all.
        guard var server = servers.removeValue(forKey: key) else { return }
        let before = (server.location, Array(server.volumes.keys))
        let held = server.volumes.count
        let isMoved = server.update(beat)
        own(server.directories, key)
        rememberRack(server)
        let changed = server.take(beat, now: now)
        copyCount += server.volumes.count - held
        servers[key] = server
        if isMoved, before.0 != server.location {
            changes.removed(before.1, at: before.0)
            changes.added(before.1.filter { server.volumes[$0] != nil }, at: server.location)
        }
        for id in changed { setHolder(key, of: id) }
        var stale = changed
        if isMoved {
            stale.formUnion(server.volumes.keys)
            for id in stale { volumes[id]?.locations = [] }
        }
        for id in stale { refresh(id) }
    }

    /// The server has gone, and its volumes with it.
    mutating func disconnect(_ id: String) {
        guard let key = serverKeys.removeValue(forKey: id),
            let server = servers.removeValue(forKey: key)
        else { return }
        own([], key)
        copyCount -= server.volumes.count
        changes.removed(Array(server.volumes.keys), at: server.location)
        for volume in server.volumes.keys {
            setHolder(key, of: volume)
            refresh(volume)
        }
    }

    /// A stream has ended.
    ///
    /// Returns the address of the server that is gone with it; `nil` when it had opened another.
    mutating func disconnect(connection: ConnectionID) -> String? {
        guard let server = servers.values.first(where: { $0.link.connection == connection })
        else { return nil }
        disconnect(server.id)
        return server.url
    }

    /// Changes a server in place, slots and flags only.
    mutating func withServer(_ key: ServerKey, _ body: (inout ServerNode) -> Void) {
        guard let index = servers.index(forKey: key) else { return }
        body(&servers.values[index])
    }

    func serverKey(_ id: String) -> ServerKey? { serverKeys[id] }

    /// The number of a reporting server, which is connected by `link` from now on.
    private mutating func register(_ identity: ServerIdentity, _ link: ServerLink) -> ServerKey {
        if let key = serverKeys[identity.id] {
            if servers[key]?.link.connection != link.connection || servers[key]?.url != identity.url
            {
                withServer(key) {
                    $0.link = link
                    $0.avoidedUntil = nil
                }
            }
            return key
        }
        nextServerKey += 1
        serverKeys[identity.id] = nextServerKey
        servers[nextServerKey] = ServerNode(key: nextServerKey, identity: identity, link: link)
        return nextServerKey
    }

    /// Notes whose directories these are.
    private mutating func own(_ directories: Set<String>, _ key: ServerKey) {
        let before = ownedDirectories[key] ?? []
        guard before != directories else { return }
        for directory in before { directoryOwners[directory] = nil }
        for directory in directories { directoryOwners[directory] = key }
        ownedDirectories[key] = directories.isEmpty ? nil : directories
    }

    private mutating func rememberRack(_ server: ServerNode) {
        guard racks[server.dataCenter] != nil || racks.count < Topology.rememberedRacks,
            racks[server.dataCenter]?.count ?? 0 < Topology.rememberedRacks
        else { return }
        racks[server.dataCenter, default: []].insert(server.rack)
    }

    // MARK: Volumes

    /// A volume was made on servers; it is writable at once.
    mutating func created(_ info: VolumeInfo, on keys: [ServerKey], now: ContinuousClock.Instant) {
        for key in keys where servers[key] != nil {
            hold(HeldVolume(info: info, freshUntil: now + HeldVolume.freshness), on: key)
            setHolder(key, of: info.id)
        }
        refresh(info.id)
    }

    private mutating func hold(_ volume: HeldVolume, on key: ServerKey) {
        let held = servers[key]?.volumes.count ?? 0
        withServer(key) { $0.hold(volume) }
        copyCount += (servers[key]?.volumes.count ?? 0) - held
    }

    /// Volumes up to this id count from now on.
    mutating func accept(_ id: VolumeID) {
        guard id > acceptedVolumeID else { return }
        acceptedVolumeID = id
        for entry in volumes.values where entry.reason == .idNotAccepted { refresh(entry.id) }
    }

    /// A volume was deleted on a server.
    mutating func deleted(_ id: VolumeID, on key: ServerKey) {
        guard servers[key]?.volumes[id] != nil else { return }
        withServer(key) { $0.drop(id) }
        copyCount -= 1
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

    /// Marks a volume as about to be deleted or no longer so.
    mutating func setRetiring(_ id: VolumeID, _ flag: Bool) {
        volumes[id]?.isRetiring = flag
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
            if let server = servers[key] { changes.added([id], at: server.location) }
        } else {
            entry.holders.removeAll { $0 == key }
            if let server = servers[key] { changes.removed([id], at: server.location) }
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
