import Model
import Wire

/// A volume as one server has it.
struct HeldVolume {
    /// How long a volume that the master made may be missing in a server's lists: a list may be
    /// older than the volume.
    static let freshness = Duration.seconds(10)

    var info: VolumeInfo
    /// Until when lists may leave it out; `nil` once the server has named it.
    var freshUntil: ContinuousClock.Instant?
}

/// A connected volume server.
struct ServerNode {
    let key: ServerKey
    let id: String
    private(set) var url: String
    private(set) var publicURL: String
    private(set) var grpcPort: Int
    private(set) var dataCenter: String
    private(set) var rack: String
    /// Lasting ids of its data directories.
    private(set) var directories: Set<String> = []
    /// How many volumes it may hold, by disk type.
    private(set) var maxVolumes: [String: Int] = [:]
    /// Volumes being made on it, by disk type.
    private(set) var pending: [String: Int] = [:]
    /// Volumes on it, by disk type.
    private(set) var used: [String: Int] = [:]
    private(set) var volumes: [VolumeID: HeldVolume] = [:]
    /// Volumes that it has more than once, with the numbers of their directories.
    private(set) var doubles: [VolumeID: [UInt32]] = [:]
    /// Why directories take no new volumes.
    private(set) var problems: [String: String] = [:]
    /// It takes no new volumes for as long as its operator says.
    private(set) var isInMaintenance = false
    var link: ServerLink
    /// Where clients send files that go to it.
    private(set) var target: AssignTarget
    /// A copy of a volume is being compacted on it.
    var isVacuuming = false
    /// Volumes are rather made elsewhere until then, because it could not make one.
    var avoidedUntil: ContinuousClock.Instant?
    /// Why it could not.
    var avoidedFor = ""

    static let defaultDataCenter = "DefaultDataCenter"
    static let defaultRack = "DefaultRack"
    /// Volumes of one disk type that a server may claim to have room for.
    static let slotLimit = 1 << 24

    init(key: ServerKey, identity: ServerIdentity, link: ServerLink) {
        self.key = key
        self.link = link
        id = identity.id
        url = identity.url
        publicURL = identity.publicURL
        grpcPort = identity.grpcPort
        dataCenter = ""
        rack = ""
        target = AssignTarget(server: key, url: identity.url, publicURL: identity.publicURL)
    }

    var peer: any VolumeServerPeer { link.peer }

    /// How those see it who look for volumes.
    var location: ServerLocation {
        ServerLocation(
            url: url, publicURL: publicURL, dataCenter: dataCenter, grpcPort: grpcPort)
    }

    /// Takes everything from a message but its volumes.
    ///
    /// Returns whether answers to clients change.
    mutating func update(_ beat: Heartbeat) -> Bool {
        let server = beat.server
        let center = server.dataCenter.isEmpty ? ServerNode.defaultDataCenter : server.dataCenter
        let newRack = server.rack.isEmpty ? ServerNode.defaultRack : server.rack
        let newPublic = server.publicURL.isEmpty ? server.url : server.publicURL
        let changed =
            (url, publicURL, grpcPort) != (server.url, newPublic, server.grpcPort)
            || (dataCenter, rack) != (center, newRack)
        if changed {
            url = server.url
            publicURL = newPublic
            grpcPort = server.grpcPort
            dataCenter = center
            rack = newRack
            target = AssignTarget(
                server: key, url: url, publicURL: publicURL, dataCenter: dataCenter,
                grpcPort: grpcPort)
        }
        directories = server.directories
        if let reported = beat.problems { problems = reported }
        if let flag = beat.isInMaintenance { isInMaintenance = flag }
        if !beat.maxVolumes.isEmpty { setSlots(beat.maxVolumes) }
        return changed
    }

    private mutating func setSlots(_ reported: [String: Int]) {
        var slots: [String: Int] = [:]
        for (type, count) in reported {
            let type = LayoutKey.canonical(type)
            let counted = count > 0 ? min(count, ServerNode.slotLimit) : (maxVolumes[type] ?? 0)
            slots[type] = min((slots[type] ?? 0) + counted, ServerNode.slotLimit)
        }
        maxVolumes = slots
    }

    // MARK: Slots

    /// Volumes that it can still take, those being made counted; never negative.
    func free(_ diskType: String) -> Int {
        if isInMaintenance { return 0 }
        return max(
            0, (maxVolumes[diskType] ?? 0) - (used[diskType] ?? 0) - (pending[diskType] ?? 0))
    }

    /// Slots of every disk type together.
    var slots: (max: Int, free: Int) {
        var total = (max: 0, free: 0)
        for (type, count) in maxVolumes {
            total.max += count
            total.free += free(type)
        }
        return total
    }

    mutating func reserve(_ diskType: String) { pending[diskType, default: 0] += 1 }

    mutating func release(_ diskType: String) {
        let left = (pending[diskType] ?? 0) - 1
        pending[diskType] = left > 0 ? left : nil
    }

    /// Why it takes no more volumes of a disk type, or how many it would take; for errors.
    func whyFull(_ diskType: String) -> String {
        let shown = LayoutKey.shown(diskType)
        guard let most = maxVolumes[diskType], most > 0 else {
            return "\(url) has no \(shown) disk"
        }
        var text = "\(url) has \(used[diskType] ?? 0) of \(most) \(shown) volumes"
        if let making = pending[diskType], making > 0 { text += " and \(making) being made" }
        if isInMaintenance { text += ", it is in maintenance" }
        if avoidedUntil != nil { text += ", it failed just now: \(avoidedFor)" }
        for (directory, problem) in problems.sorted(by: { $0.key < $1.key }) {
            text += ", \(directory): \(problem)"
        }
        return text
    }

    // MARK: Volumes

    /// Takes the volumes of a message.
    ///
    /// Returns those that came, went or changed.
    mutating func take(_ beat: Heartbeat, now: ContinuousClock.Instant) -> Set<VolumeID> {
        var changed = Set<VolumeID>()
        for id in beat.removed where volumes[id] != nil {
            drop(id)
            changed.insert(id)
        }
        for info in beat.added {
            hold(HeldVolume(info: merged(info)))
            changed.insert(info.id)
        }
        if let list = beat.volumes { replace(list, now: now, &changed) }
        return changed
    }

    private mutating func replace(
        _ list: [VolumeInfo], now: ContinuousClock.Instant, _ changed: inout Set<VolumeID>
    ) {
        var reported = Set<VolumeID>(minimumCapacity: list.count)
        var found: [VolumeID: [UInt32]] = [:]
        for info in list {
            guard reported.insert(info.id).inserted else {
                let first = volumes[info.id]?.info.diskID ?? 0
                found[info.id, default: [first]].append(info.diskID)
                continue
            }
            // The report of a volume that grew is the usual case.
            if let held = volumes[info.id], held.info == info, held.freshUntil == nil { continue }
            hold(HeldVolume(info: info))
            changed.insert(info.id)
        }
        for (id, held) in volumes where !reported.contains(id) {
            if let until = held.freshUntil, until > now { continue }
            drop(id)
            changed.insert(id)
        }
        if found != doubles {
            changed.formUnion(found.keys)
            changed.formUnion(doubles.keys.filter { found[$0] == nil })
            doubles = found
        }
    }

    /// A short message about a volume, with what is known of its size.
    private func merged(_ short: VolumeInfo) -> VolumeInfo {
        guard var info = volumes[short.id]?.info, info.collection == short.collection else {
            return short
        }
        info.replication = short.replication
        info.ttl = short.ttl
        info.diskType = short.diskType
        info.diskID = short.diskID
        info.version = short.version
        info.readOnlyReason = short.readOnlyReason
        info.readOnlyCanDelete = short.readOnlyCanDelete
        return info
    }

    mutating func hold(_ volume: HeldVolume) {
        drop(volume.info.id)
        volumes[volume.info.id] = volume
        used[LayoutKey.canonical(volume.info.diskType), default: 0] += 1
    }

    mutating func drop(_ id: VolumeID) {
        guard let old = volumes.removeValue(forKey: id) else { return }
        let type = LayoutKey.canonical(old.info.diskType)
        let left = (used[type] ?? 1) - 1
        used[type] = left > 0 ? left : nil
    }

    /// Checks that the parts agree; for tests.
    func checkInvariants() {
        var counted: [String: Int] = [:]
        for held in volumes.values {
            counted[LayoutKey.canonical(held.info.diskType), default: 0] += 1
        }
        precondition(counted == used, "\(url) counts \(used) volumes, has \(counted)")
        precondition(pending.values.allSatisfy { $0 > 0 }, "\(url) makes less than no volume")
        for type in Set(maxVolumes.keys).union(used.keys) {
            precondition(free(type) >= 0, "\(url) has less than no room")
        }
    }
}
