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
    /// Takes a server's report over the seam inside the process.
    func report(
        _ report: ServerReport, from peer: any VolumeServerPeer
    ) async throws(PeerError) -> ReportReply {
        var beat = Heartbeat(report)
        beat.largestKey = largestKey(report)
        do {
            try await take(beat, from: ServerLink(connection: ServerLink.inProcess, peer: peer))
        } catch let error as HeartbeatRefusal {
            throw PeerError(.refused, "\(error)")
        } catch {
            throw PeerError(.failed, "\(error)")
        }
        return ReportReply(
            volumeSizeLimit: configuration.volumeSizeLimit, topologyID: topologyID,
            masters: [advertised])
    }

    /// Takes a server's message.
    ///
    /// What it says about ids and keys is in the log before its volumes count. Throws
    /// ``HeartbeatRefusal`` when it is not taken and ``ProposalError`` when the log does not work.
    func take(_ beat: Heartbeat, from link: ServerLink) async throws {
        guard beat.topologyID.isEmpty || beat.topologyID == topologyID else {
            throw HeartbeatRefusal.foreignTopology(
                server: beat.server.url, theirs: String(beat.topologyID.prefix(64)),
                ours: topologyID)
        }
        // Refused before it can raise ids or keys, and again below: others came meanwhile.
        try shared.withLock { shared throws(HeartbeatRefusal) in
            try shared.topology.checkBounds(beat)
            _ = try shared.topology.checkIdentity(beat.server, on: link.connection)
        }
        try await raiseVolumeID(beat)
        try await raiseKeys(beat)
        let outcome = change { shared -> Result<News, HeartbeatRefusal> in
            let isNew = shared.topology.serverKey(beat.server.id) == nil
            do throws(HeartbeatRefusal) {
                try shared.topology.take(beat, from: link, now: .now)
            } catch {
                return .failure(error)
            }
            shared.warmUp.reported(beat.server.id)
            return .success(
                News(
                    servers: isNew ? shared.topology.servers.values.map(\.id) : nil,
                    unwanted: shared.unwanted(beat)))
        }
        follow(try outcome.get(), beat, link)
    }

    private struct News {
        /// Every server, when one is new.
        var servers: [String]?
        /// Copies of volumes that were given up while they were being made.
        var unwanted: [VolumeID]
    }

    private func follow(_ news: News, _ beat: Heartbeat, _ link: ServerLink) {
        if let servers = news.servers {
            hints?.remember(servers)
            logger.info(
                "volume server connected",
                metadata: [
                    "url": "\(beat.server.url)", "volumes": "\(beat.volumes?.count ?? 0)",
                ])
        }
        guard !news.unwanted.isEmpty else { return }
        Task {
            for id in news.unwanted {
                do throws(PeerError) {
                    try await link.peer.deleteVolume(id)
                } catch {
                    logger.warning(
                        "volume \(id) was made too late and could not be deleted",
                        metadata: ["server": "\(beat.server.url)", "error": "\(error)"])
                }
            }
        }
    }

    /// A stream has ended: if the server has no later one, its volumes are neither written to nor
    /// found any more.
    func disconnected(connection: ConnectionID) {
        let url = change { $0.topology.disconnect(connection: connection) }
        if let url { logger.warning("volume server disconnected", metadata: ["url": "\(url)"]) }
    }

    /// The server has gone: its volumes are neither written to nor found any more.
    func disconnected(_ serverID: String) {
        let url = change { shared -> String? in
            guard let key = shared.topology.serverKey(serverID) else { return nil }
            let url = shared.topology.servers[key]?.url
            shared.topology.disconnect(serverID)
            return url
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

    /// Steps that one report may lift the largest volume id by.
    static let volumeIDSteps = 16

    /// Lifts the largest volume id to what a report shows, in steps that the state accepts.
    private func raiseVolumeID(_ beat: Heartbeat) async throws(ProposalError) {
        var base = shared.withLock { $0.topology.acceptedVolumeID }
        var largest = base
        var steps: [VolumeID] = []
        let reported = beat.lists.flatMap { $0.lazy.map(\.id).filter { $0 > base } }
        for id in reported.sorted() where id > largest {
            guard id - largest <= MasterState.volumeIDJump, id < .max,
                steps.count < MasterCore.volumeIDSteps
            else {
                let isNews = shared.withLock { $0.oddVolumes.insert(id, upTo: 10_000) }
                if isNews {
                    logger.error(
                        "a reported volume takes no new files",
                        metadata: [
                            "server": "\(beat.server.url)",
                            "reason": "\(MasterRefusal.volumeIDJump(reported: id, max: largest))",
                        ])
                }
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
            if case .maxVolumeID(let max) = result { change { $0.topology.accept(max) } }
        }
    }

    /// The largest key of a report that can have been given out by a master.
    private func largestKey(_ report: ServerReport) -> NeedleKey {
        var largest: NeedleKey = 0
        for volume in report.volumes {
            if volume.maxKey < MasterState.reportedKeyLimit {
                largest = max(largest, volume.maxKey)
            } else if shared.withLock({ $0.oddKeys.insert(volume.id, upTo: 10_000) }) {
                logger.warning(
                    "volume \(volume.id): \(MasterRefusal.keyJump(reported: volume.maxKey))",
                    metadata: ["server": "\(report.url)"])
            }
        }
        return largest
    }

    /// Lifts the ceiling of needle keys to what a message shows.
    ///
    /// A key that no master can have given out is not believed: a client may have chosen it, and
    /// it must not use up the keys.
    private func raiseKeys(_ beat: Heartbeat) async throws(ProposalError) {
        let reported = beat.largestKey
        guard reported < MasterState.reportedKeyLimit else {
            if shared.withLock({ $0.oddKeyServers.insert(beat.server.id, upTo: 10_000) }) {
                logger.warning(
                    "\(MasterRefusal.keyJump(reported: reported))",
                    metadata: ["server": "\(beat.server.url)"])
            }
            return
        }
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

extension MasterShared {
    /// Copies in a message that belong to growths that failed; they take no files from now on.
    fileprivate mutating func unwanted(_ beat: Heartbeat) -> [VolumeID] {
        if abandoned.isEmpty { return [] }
        var unwanted: [VolumeID] = []
        var shown: Set<VolumeID> = []
        for list in beat.lists {
            for volume in list where abandoned.contains(volume.id) { shown.insert(volume.id) }
        }
        for id in shown {
            guard let entry = topology.volumes[id] else { continue }
            let copies = topology.copies(entry)
            if copies.contains(where: { $0.fileCount > 0 }) || entry.reason == nil {
                // Every server has made it after all.
                abandoned.remove(id)
                continue
            }
            topology.setRetiring(id, true)
            unwanted.append(id)
        }
        return unwanted
    }
}

extension Set {
    /// Inserts unless there are too many already.
    ///
    /// Returns whether it was inserted.
    mutating func insert(_ element: Element, upTo limit: Int) -> Bool {
        count < limit && insert(element).inserted
    }
}
