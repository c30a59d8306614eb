internal import Model
internal import SwiftProtobuf
internal import Wire
internal import WireMessages

/// Makes the messages of one stream of reports, and knows what the master was told on it.
struct HeartbeatComposer {
    /// Volumes above which a change is told with the whole list.
    static let deltaLimit = 1000

    private let id: String
    private let isOriginal: Bool
    private var told: [VolumeID: VolumeInfo] = [:]
    private var toldMaxima: [String: Int] = [:]
    private var toldProblems: [String: String] = [:]

    init(id: String, leader: FoundLeader) {
        self.id = id
        isOriginal = leader.topologyID.isEmpty
    }

    /// What every message says: who this is.
    private func head(_ report: ServerReport) -> MasterPb_Heartbeat {
        let address = PeerAddress(report.url)
        return .with {
            $0.ip = address?.host ?? report.url
            $0.port = UInt32(clamping: address?.port ?? 0)
            $0.dataCenter = report.dataCenter
            $0.rack = report.rack
            // tools of the original expect ip:port, which is what an empty id means
            $0.id = !id.isEmpty ? id : isOriginal ? "" : report.id
        }
    }

    /// The whole list.
    mutating func full(_ report: ServerReport, topologyID: String) -> MasterPb_Heartbeat {
        told = Dictionary(report.volumes.map { ($0.id, $0) }) { first, _ in first }
        toldMaxima = report.maxVolumes
        toldProblems = report.directoryProblems
        var message = head(report)
        message.publicURL = report.publicURL
        message.grpcPort = UInt32(clamping: report.grpcPort)
        message.maxVolumeCounts = report.maxVolumes.mapValues { UInt32(clamping: $0) }
        message.maxFileKey = report.volumes.lazy.map(\.maxKey).max() ?? 0
        message.volumes = report.volumes.map(\.message)
        message.hasNoVolumes_p = report.volumes.isEmpty
        message.hasNoEcShards_p = true
        message.locationUuids = report.directoryIDs.isEmpty ? [report.id] : report.directoryIDs
        message.state = .init()
        message.topologyID = topologyID
        message.directoryProblems = report.directoryProblems
        return message
    }

    /// Whether something changed that only the whole list tells.
    func needsFull(_ report: ServerReport) -> Bool {
        if report.maxVolumes != toldMaxima || report.directoryProblems != toldProblems {
            return true
        }
        var new = 0
        for volume in report.volumes {
            guard let before = told[volume.id] else {
                new += 1
                continue
            }
            if volume.readOnlyReason != before.readOnlyReason
                || volume.readOnlyCanDelete != before.readOnlyCanDelete
                || volume.replication != before.replication
                || volume.compactRevision != before.compactRevision
            {
                return true
            }
        }
        return new > HeartbeatComposer.deltaLimit
    }

    /// Volumes that came and went; `nil` when none did.
    mutating func delta(_ report: ServerReport) -> MasterPb_Heartbeat? {
        let now = Dictionary(report.volumes.map { ($0.id, $0) }) { first, _ in first }
        let new = report.volumes.filter { told[$0.id] == nil }
        let gone = told.values.filter { now[$0.id] == nil }
        guard !new.isEmpty || !gone.isEmpty else { return nil }
        told = now
        var message = head(report)
        message.newVolumes = new.map(\.shortMessage)
        message.deletedVolumes = gone.sorted { $0.id < $1.id }.map(\.shortMessage)
        return message
    }

    /// The last message: nothing is here any more.
    func farewell(_ report: ServerReport) -> MasterPb_Heartbeat {
        var message = head(report)
        message.hasNoVolumes_p = true
        return message
    }
}
