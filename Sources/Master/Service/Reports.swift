import Logging
import Model
import Synchronization
import Wire

/// The side of a master that volume servers talk to.
struct MasterPeerSide: MasterPeer {
    let core: MasterCore

    func report(
        _ report: ServerReport, from peer: any VolumeServerPeer
    ) async throws(PeerError) -> ReportReply {
        try await core.report(report, from: peer)
    }

    func disconnected(_ serverID: String) async { core.disconnected(serverID) }

    func locations(of volume: VolumeID) async throws(PeerError) -> [String] {
        try core.locations(of: volume)
    }
}

extension MasterCore {
    /// Volumes in one report.
    static let reportedVolumes = 1 << 20

    /// Takes a server's report.
    ///
    /// What it says about ids and keys is in the log before its volumes count.
    func report(
        _ report: ServerReport, from peer: any VolumeServerPeer
    ) async throws(PeerError) -> ReportReply {
        guard !report.id.isEmpty, !report.url.isEmpty else {
            throw PeerError(.refused, "a volume server's report must name its id and address")
        }
        guard report.volumes.count <= MasterCore.reportedVolumes else {
            throw PeerError(
                .refused,
                "\(report.url) reports \(report.volumes.count) volumes, "
                    + "at most \(MasterCore.reportedVolumes) are taken")
        }
        do {
            try await raiseVolumeID(report)
            try await raiseKeys(report)
        } catch {
            throw PeerError(.failed, "\(error)")
        }
        let news = shared.withLock { shared in
            let isNew = shared.topology.serverKey(report.id) == nil
            shared.topology.report(report, from: peer)
            shared.warmUp.reported(report.id)
            return isNew ? shared.topology.servers.values.map(\.id) : nil
        }
        if let news {
            hints?.remember(news)
            logger.info(
                "volume server connected",
                metadata: ["url": "\(report.url)", "volumes": "\(report.volumes.count)"])
        }
        return ReportReply(
            volumeSizeLimit: configuration.volumeSizeLimit, topologyID: topologyID,
            masters: [advertised])
    }

    /// The server has gone: its volumes are neither written to nor found any more.
    func disconnected(_ serverID: String) {
        let url = shared.withLock { shared -> String? in
            guard let key = shared.topology.serverKey(serverID) else { return nil }
            defer { shared.topology.disconnect(serverID) }
            return shared.topology.servers[key]?.url
        }
        if let url { logger.warning("volume server disconnected", metadata: ["url": "\(url)"]) }
    }

    /// Addresses of a volume's servers.
    func locations(of volume: VolumeID) throws(PeerError) -> [String] {
        let (urls, warming) = shared.withLock { shared in
            let holders = shared.topology.volumes[volume]?.holders ?? []
            return (
                holders.compactMap { shared.topology.servers[$0]?.url },
                shared.warmUp.secondsLeft(now: .now)
            )
        }
        if urls.isEmpty, warming != nil {
            throw PeerError(.failed, "\(AssignRefusal.warmingUp(seconds: warming ?? 0))")
        }
        return urls
    }

    /// Lifts the largest volume id to what a report shows, in steps that the state accepts.
    private func raiseVolumeID(_ report: ServerReport) async throws(ProposalError) {
        var base = shared.withLock { $0.topology.acceptedVolumeID }
        var largest = base
        var steps: [VolumeID] = []
        for id in report.volumes.map(\.id).sorted() where id > largest {
            guard id - largest <= MasterState.volumeIDJump, id < .max else {
                logger.error(
                    "a reported volume takes no new files",
                    metadata: [
                        "server": "\(report.url)",
                        "reason": "\(MasterRefusal.volumeIDJump(reported: id, max: largest))",
                    ])
                break
            }
            if id - base > MasterState.volumeIDJump {
                steps.append(largest)
                base = largest
            }
            largest = id
        }
        if largest > base { steps.append(largest) }
        for id in steps {
            let result = try await proposer.propose(.raiseMaxVolumeID(id))
            if case .maxVolumeID(let max) = result { shared.withLock { $0.topology.accept(max) } }
        }
    }

    /// Lifts the ceiling of needle keys to what a report shows.
    private func raiseKeys(_ report: ServerReport) async throws(ProposalError) {
        var largest: NeedleKey = 0
        for volume in report.volumes {
            if volume.maxKey < MasterState.reportedKeyLimit {
                largest = max(largest, volume.maxKey)
            } else if shared.withLock({ $0.oddKeys.insert(volume.id).inserted }) {
                logger.warning(
                    "volume \(volume.id): \(MasterRefusal.keyJump(reported: volume.maxKey))",
                    metadata: ["server": "\(report.url)"])
            }
        }
        let reported = largest
        if reported >= shared.withLock({ $0.keyCeiling }) {
            let result = try await proposer.propose(.raiseKeyCeiling(reported))
            if case .keyCeiling(let ceiling) = result {
                shared.withLock { $0.keyCeiling = max($0.keyCeiling, ceiling) }
            }
        }
        let needsKeys = shared.withLock { shared in
            shared.keys.skip(through: reported)
            return shared.keys.startRefill()
        }
        if needsKeys { refillKeys() }
    }
}
