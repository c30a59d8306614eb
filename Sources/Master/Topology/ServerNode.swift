import Model
import Wire

/// A volume as one server has it.
struct HeldVolume {
    var info: VolumeInfo
    /// Reports that may leave the volume out before it counts as gone: a report may have been on
    /// its way when the volume was made.
    var mayBeMissing = 0
}

/// A connected volume server.
struct ServerNode {
    let key: ServerKey
    let id: String
    var url: String
    var publicURL: String
    var grpcPort: Int
    var dataCenter: String
    var rack: String
    /// How many volumes it may hold, by disk type.
    var maxVolumes: [String: Int] = [:]
    /// Volumes being made on it, by disk type.
    private(set) var pending: [String: Int] = [:]
    /// Volumes on it, by disk type.
    private(set) var used: [String: Int] = [:]
    private(set) var volumes: [VolumeID: HeldVolume] = [:]
    /// Why directories take no new volumes.
    var problems: [String: String] = [:]
    let peer: any VolumeServerPeer
    /// Where clients send files that go to it.
    private(set) var target: AssignTarget
    /// A copy of a volume is being compacted on it.
    var isVacuuming = false

    static let defaultDataCenter = "DefaultDataCenter"
    static let defaultRack = "DefaultRack"

    init(key: ServerKey, report: ServerReport, peer: any VolumeServerPeer) {
        self.key = key
        self.peer = peer
        id = report.id
        url = report.url
        publicURL = report.publicURL
        grpcPort = report.grpcPort
        dataCenter = ""
        rack = ""
        target = AssignTarget(server: key, url: report.url, publicURL: report.publicURL)
        update(report)
    }

    /// Takes everything from a report but its volumes.
    ///
    /// Returns whether answers to clients change.
    @discardableResult
    mutating func update(_ report: ServerReport) -> Bool {
        let center = report.dataCenter.isEmpty ? ServerNode.defaultDataCenter : report.dataCenter
        let newRack = report.rack.isEmpty ? ServerNode.defaultRack : report.rack
        let newPublic = report.publicURL.isEmpty ? report.url : report.publicURL
        let changed =
            (url, publicURL, grpcPort) != (report.url, newPublic, report.grpcPort)
            || (dataCenter, rack) != (center, newRack)
        url = report.url
        publicURL = newPublic
        grpcPort = report.grpcPort
        dataCenter = center
        rack = newRack
        if changed { target = AssignTarget(server: key, url: url, publicURL: publicURL) }
        problems = report.directoryProblems
        maxVolumes = [:]
        for (type, count) in report.maxVolumes {
            maxVolumes[LayoutKey.canonical(type), default: 0] += min(max(count, 0), 1 << 24)
        }
        return changed
    }

    /// Volumes that it can still take, those being made counted; never negative.
    func free(_ diskType: String) -> Int {
        max(0, (maxVolumes[diskType] ?? 0) - (used[diskType] ?? 0) - (pending[diskType] ?? 0))
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

    mutating func hold(_ volume: HeldVolume) {
        drop(volume.info.id)
        volumes[volume.info.id] = volume
        used[LayoutKey.canonical(volume.info.diskType), default: 0] += 1
    }

    mutating func drop(_ id: VolumeID) {
        guard let old = volumes.removeValue(forKey: id) else { return }
        used[LayoutKey.canonical(old.info.diskType), default: 1] -= 1
    }

    /// A report left a volume out.
    ///
    /// Returns whether it is to be dropped.
    mutating func missed(_ id: VolumeID) -> Bool {
        guard let held = volumes[id], held.mayBeMissing > 0 else { return true }
        volumes[id]?.mayBeMissing -= 1
        return false
    }

    /// Why it takes no more volumes of a disk type, for errors.
    func whyFull(_ diskType: String) -> String {
        let shown = LayoutKey.shown(diskType)
        guard let most = maxVolumes[diskType], most > 0 else {
            return "\(url) has no \(shown) disk"
        }
        var text = "\(url) has \(used[diskType] ?? 0) of \(most) \(shown) volumes"
        if let making = pending[diskType], making > 0 { text += " and \(making) being made" }
        for (directory, problem) in problems.sorted(by: { $0.key < $1.key }) {
            text += ", \(directory): \(problem)"
        }
        return text
    }
}
