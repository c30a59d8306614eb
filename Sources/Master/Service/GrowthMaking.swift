import Logging
import Model
import Synchronization
import Wire

/// Servers that are to make one volume.
struct PlannedVolume: Sendable {
    var servers: [(key: ServerKey, url: String, peer: any VolumeServerPeer)]
}

extension MasterShared {
    /// Volumes of failed growths that are remembered.
    static let abandonedLimit = 4096

    /// Chooses servers for up to `count` volumes and takes their slots.
    ///
    /// Servers that failed just now are taken only if there is no other way.
    mutating func place(
        _ plan: GrowthPlan, count: Int, now: ContinuousClock.Instant
    ) -> (volumes: [PlannedVolume], refusal: PlacementRefusal?) {
        for (key, server) in topology.servers {
            guard let until = server.avoidedUntil, until <= now else { continue }
            topology.withServer(key) { $0.avoidedUntil = nil }
        }
        var avoids = topology.servers.values.contains { $0.avoidedUntil != nil }
        var placement = placement(plan, avoids: avoids)
        var planned: [PlannedVolume] = []
        while planned.count < count {
            do {
                let keys = try placement.choose(random: &picks)
                placement.take(keys)
                for key in keys {
                    topology.withServer(key) { $0.reserve(plan.layout.diskType) }
                }
                planned.append(
                    PlannedVolume(
                        servers: keys.compactMap { key in
                            topology.servers[key].map { (key, $0.url, $0.peer) }
                        }))
            } catch {
                guard avoids else { return (planned, error) }
                avoids = false
                placement = self.placement(plan, avoids: false)
            }
        }
        return (planned, nil)
    }

    private func placement(_ plan: GrowthPlan, avoids: Bool) -> Placement {
        let disk = plan.layout.diskType
        let node = Whereabouts(node: plan.whereabouts.node)
        let candidates = topology.servers.values.map { server in
            let free = server.free(disk)
            let isOut = avoids && server.avoidedUntil != nil
            return PlacementCandidate(
                key: server.key, url: server.url, dataCenter: server.dataCenter,
                rack: server.rack, free: isOut ? 0 : free,
                isNamed: topology.matches(server, node),
                state: free == 0 || server.avoidedUntil != nil ? server.whyFull(disk) : "")
        }
        return Placement(
            candidates, replication: plan.layout.replication, whereabouts: plan.whereabouts)
    }

    /// A server could not make a volume.
    mutating func avoid(
        _ key: ServerKey, _ reason: String, until: ContinuousClock.Instant
    ) {
        topology.withServer(key) {
            $0.avoidedUntil = until
            $0.avoidedFor = reason
        }
    }

    /// Remembers a volume that may still appear on a server although its growth failed.
    mutating func abandon(_ id: VolumeID) {
        if abandoned.count >= MasterShared.abandonedLimit, let any = abandoned.first {
            abandoned.remove(any)
        }
        abandoned.insert(id)
    }
}

extension MasterCore {
    /// Volumes made at the same time by one growth.
    static let growthParallelism = 4
    /// How long servers get to make a volume before others are asked, try by try; the last one
    /// waits for a slow disk.
    static let allocationLimits: [Duration] = [.seconds(5), .seconds(5), .seconds(60)]
    /// How long a server that failed is passed over.
    static let avoidance = Duration.seconds(10)
    /// What is waited between two tries.
    static let growthPause = Duration.milliseconds(100)

    /// Makes volumes: chooses servers, takes ids from the log, asks the servers.
    ///
    /// What some servers cannot make is tried on others. `progress` is called after each volume.
    func grow(_ plan: GrowthPlan, progress: @Sendable () -> Void) async -> GrowthReport {
        var report = GrowthReport()
        for (round, limit) in MasterCore.allocationLimits.enumerated() {
            let missing = plan.volumes - report.volumes
            let (planned, refusal) = shared.withLock {
                $0.place(plan, count: missing, now: .now)
            }
            // What made a try fail says more than that nothing is left to try.
            if let refusal, report.failure == nil || round == 0 { report.failure = "\(refusal)" }
            guard !planned.isEmpty else { break }
            let failure = await make(planned, plan, within: limit) { volume in
                report.volumes += 1
                report.copies += volume.servers.count
                progress()
            }
            guard let failure else {
                if refusal == nil { report.failure = nil }
                break
            }
            report.failure = failure
            guard (try? await Task.sleep(for: MasterCore.growthPause)) != nil else { break }
        }
        return report
    }

    /// Makes volumes, a few at a time.
    ///
    /// Returns why not all of them.
    private func make(
        _ planned: [PlannedVolume], _ plan: GrowthPlan, within limit: Duration,
        made: (PlannedVolume) -> Void
    ) async -> String? {
        let ids: Range<VolumeID>
        do {
            ids = try await allocateIDs(planned.count)
        } catch {
            for volume in planned { release(volume, plan.layout) }
            return "\(error)"
        }
        var failure: String?
        await withTaskGroup(of: (PlannedVolume, String?).self) { group in
            var waiting = zip(ids, planned).makeIterator()
            var running = 0
            while true {
                while running < MasterCore.growthParallelism, let (id, volume) = waiting.next() {
                    group.addTask {
                        (volume, await self.make(id, volume, plan, within: limit))
                    }
                    running += 1
                }
                guard let (volume, problem) = await group.next() else { break }
                running -= 1
                if let problem { failure = problem } else { made(volume) }
            }
        }
        return failure
    }

    private func allocateIDs(_ count: Int) async throws -> Range<VolumeID> {
        var system = SystemRandomNumberGenerator()
        let request = RequestID(high: system.next(), low: system.next())
        let result = try await proposer.propose(
            .allocateVolumeIDs(count: UInt32(clamping: count), request: request))
        switch result {
        case .volumeIDs(let ids) where ids.count == count:
            shared.withLock { $0.topology.accept(ids.upperBound - 1) }
            return ids
        case .refused(let refusal): throw refusal
        default: throw ProposalError.storage("\(count) volume ids wanted, got \(result)")
        }
    }

    /// Makes one volume on its servers, all or none.
    ///
    /// Returns why not.
    private func make(
        _ id: VolumeID, _ volume: PlannedVolume, _ plan: GrowthPlan, within limit: Duration
    ) async -> String? {
        let layout = plan.layout
        let wish = AllocateVolume(
            id: id, collection: layout.collection, replication: layout.replication,
            ttl: layout.ttl, diskType: layout.diskType, preallocate: plan.preallocate)
        let answers = await withTaskGroup(of: (Int, PeerError?).self) { group in
            for (index, server) in volume.servers.enumerated() {
                group.addTask {
                    (index, await Self.allocate(wish, on: server.peer, within: limit))
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        guard let (failed, error) = answers.first(where: { $0.1 != nil }), let error else {
            change { shared in
                for server in volume.servers {
                    shared.topology.withServer(server.key) { $0.release(layout.diskType) }
                }
                let info = VolumeInfo(
                    id: id, collection: layout.collection, replication: layout.replication,
                    ttl: layout.ttl, diskType: layout.diskType)
                shared.topology.created(info, on: volume.servers.map(\.key), now: .now)
            }
            return nil
        }
        shared.withLock { shared in
            shared.abandon(id)
            for (index, error) in answers {
                guard let error else { continue }
                shared.avoid(
                    volume.servers[index].key, "\(error)", until: .now + MasterCore.avoidance)
            }
        }
        for (index, error) in answers where error == nil {
            try? await volume.servers[index].peer.deleteVolume(id)
        }
        release(volume, layout)
        return "volume \(id) could not be made on \(volume.servers[failed].url): \(error)"
    }

    /// Asks one server, which may never answer.
    private static func allocate(
        _ wish: AllocateVolume, on peer: any VolumeServerPeer, within limit: Duration
    ) async -> PeerError? {
        await withCheckedContinuation { continuation in
            let answer = FirstAnswer(continuation)
            let work = Task {
                do throws(PeerError) {
                    try await peer.allocateVolume(wish)
                    answer.give(nil)
                } catch {
                    answer.give(error)
                }
            }
            Task {
                try? await Task.sleep(for: limit)
                let late = PeerError(.unreachable, "no answer within \(limit)")
                if answer.give(late) { work.cancel() }
            }
        }
    }

    private func release(_ volume: PlannedVolume, _ layout: LayoutKey) {
        shared.withLock { shared in
            for server in volume.servers {
                shared.topology.withServer(server.key) { $0.release(layout.diskType) }
            }
        }
    }
}

/// Answers with what comes first: a result or the end of patience.
private final class FirstAnswer: Sendable {
    private let waiting: Mutex<CheckedContinuation<PeerError?, Never>?>

    init(_ continuation: CheckedContinuation<PeerError?, Never>) {
        waiting = Mutex(continuation)
    }

    /// Returns whether nobody answered before.
    @discardableResult
    func give(_ answer: PeerError?) -> Bool {
        let continuation = waiting.withLock { waiting in
            defer { waiting = nil }
            return waiting
        }
        continuation?.resume(returning: answer)
        return continuation != nil
    }
}
