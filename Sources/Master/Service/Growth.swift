import Logging
import Model
import Synchronization
import Wire

/// Volumes being made for a layout, and the requests that wait for one of them.
struct GrowthInFlight {
    /// It has taken longer than requests wait.
    var isOverdue = false
    var waiters: [CheckedContinuation<GrowthOutcome, Never>] = []
}

/// What waiting for volumes gave.
enum GrowthOutcome: Sendable, Hashable {
    /// At least one volume was made since.
    case progressed
    case failed(String)
    case timedOut
}

/// A wish for volumes.
struct GrowthPlan: Sendable {
    var layout: LayoutKey
    var whereabouts = Whereabouts()
    var volumes: Int
    var preallocate: UInt64 = 0
}

/// Servers that are to make one volume.
private struct PlannedVolume: Sendable {
    var servers: [(key: ServerKey, url: String, peer: any VolumeServerPeer)]
}

/// What making volumes gave.
struct GrowthReport: Sendable {
    /// Volumes made.
    var volumes = 0
    /// Copies of volumes made.
    var copies = 0
    /// Why there are not more.
    var failure: String?
}

extension Layout {
    /// Whether every writable volume is nearly full and nobody has tried to make more just now.
    var wantsRoom: Bool { roomy == 0 && !isGrowthPaused }
}

extension MasterShared {
    /// Layouts in use whose roomy volumes have for long been fewer than half of what they once
    /// were, with how many to make.
    mutating func layoutsWanting(now: ContinuousClock.Instant) -> [(LayoutKey, Int)] {
        var wanting: [(LayoutKey, Int)] = []
        for index in topology.layouts.indices {
            topology.layouts[index].isGrowthPaused = false
            let layout = topology.layouts[index]
            guard layout.isUsed, layout.roomy * 2 < layout.bestRoomy else {
                topology.layouts[index].fewSince = nil
                continue
            }
            let since = layout.fewSince ?? now
            topology.layouts[index].fewSince = since
            guard now - since >= MasterCore.fewVolumesGrace else { continue }
            topology.layouts[index].fewSince = nil
            topology.layouts[index].isUsed = false
            topology.layouts[index].bestRoomy = layout.roomy
            wanting.append((layout.key, layout.bestRoomy - layout.roomy))
        }
        return wanting
    }

    /// Chooses servers for up to `plan.volumes` volumes and takes their slots.
    fileprivate mutating func place(
        _ plan: GrowthPlan
    ) -> (volumes: [PlannedVolume], refusal: PlacementRefusal?) {
        let disk = plan.layout.diskType
        let candidates = topology.servers.values.map {
            PlacementCandidate(
                key: $0.key, url: $0.url, dataCenter: $0.dataCenter, rack: $0.rack,
                free: $0.free(disk),
                isNamed: topology.matches($0, Whereabouts(node: plan.whereabouts.node)))
        }
        var placement = Placement(
            candidates, replication: plan.layout.replication, whereabouts: plan.whereabouts)
        var planned: [PlannedVolume] = []
        while planned.count < plan.volumes {
            do {
                let keys = try placement.choose(random: &picks)
                placement.take(keys)
                for key in keys { topology.withServer(key) { $0.reserve(disk) } }
                planned.append(
                    PlannedVolume(
                        servers: keys.compactMap { key in
                            topology.servers[key].map { (key, $0.url, $0.peer) }
                        }))
            } catch {
                return (planned, error)
            }
        }
        return (planned, nil)
    }
}

extension MasterCore {
    /// Requests that may wait for the volumes of one layout.
    static let growthWaiters = 10_000
    /// How long a request waits for volumes.
    static let growthPatience = Duration.seconds(10)
    /// Volumes made at the same time by one growth.
    static let growthParallelism = 4
    /// How long a layout may have few volumes before more are made: its servers may be restarting.
    static let fewVolumesGrace = Duration.seconds(30)

    private enum Step {
        case start
        case join
        case refuse(AssignRefusal)
    }

    /// Waits for a volume for a request: one being made already, or one made for it.
    func awaitGrowth(_ request: AssignRequest) async throws(AssignRefusal) -> GrowthOutcome {
        let copies = request.layout.replication.copies
        let plan = GrowthPlan(
            layout: request.layout, whereabouts: request.whereabouts,
            volumes: request.volumes > 0 ? request.volumes : GrowthRule.volumes(copies: copies),
            preallocate: request.preallocate)
        switch shared.withLock({ step(plan, in: &$0) }) {
        case .refuse(let refusal): throw refusal
        case .start: startGrowth(plan)
        case .join: break
        }
        return await withCheckedContinuation { continuation in
            let isOver = shared.withLock { shared in
                guard shared.growths[plan.layout]?.isOverdue == false else { return true }
                shared.growths[plan.layout]?.waiters.append(continuation)
                return false
            }
            // Over before it was joined: another look at the topology tells.
            if isOver { continuation.resume(returning: .progressed) }
        }
    }

    private func step(_ plan: GrowthPlan, in shared: inout MasterShared) -> Step {
        if let growth = shared.growths[plan.layout] {
            if growth.isOverdue { return .refuse(.growing(plan.layout, why: nil)) }
            return growth.waiters.count < MasterCore.growthWaiters
                ? .join : .refuse(.overloaded(limit: MasterCore.growthWaiters))
        }
        if let seconds = shared.warmUp.secondsLeft(now: .now) {
            return .refuse(.warmingUp(seconds: seconds))
        }
        if shared.topology.free(plan.layout.diskType) == 0 {
            return .refuse(.noFreeSlots(plan.layout, why: shared.whyFull(plan.layout.diskType)))
        }
        shared.growths[plan.layout] = GrowthInFlight()
        return .start
    }

    /// Makes volumes in the background, unless some are being made.
    ///
    /// `count` 0 makes as many as for a layout without any.
    func growAhead(_ layout: LayoutKey, count: Int) {
        let starts = shared.withLock { shared in
            if let index = shared.topology.layoutIndex(layout) {
                shared.topology.layouts[index].isGrowthPaused = true
            }
            guard shared.growths[layout] == nil, shared.warmUp.secondsLeft(now: .now) == nil,
                shared.topology.free(layout.diskType) > 0
            else { return false }
            shared.growths[layout] = GrowthInFlight()
            return true
        }
        guard starts else { return }
        let usual = GrowthRule.volumes(copies: layout.replication.copies)
        startGrowth(GrowthPlan(layout: layout, volumes: count > 0 ? count : usual))
    }

    /// Runs a growth that is already entered in `growths`.
    private func startGrowth(_ plan: GrowthPlan) {
        let overdue = Task {
            guard (try? await Task.sleep(for: MasterCore.growthPatience)) != nil else { return }
            wake(plan.layout, .timedOut) { $0.growths[plan.layout]?.isOverdue = true }
        }
        Task {
            let report = await grow(plan) { wake(plan.layout, .progressed) { _ in } }
            overdue.cancel()
            if let failure = report.failure {
                logger.warning(
                    "volumes are missing",
                    metadata: [
                        "layout": "\(plan.layout)", "made": "\(report.volumes)",
                        "wanted": "\(plan.volumes)", "error": "\(failure)",
                    ])
            }
            let outcome: GrowthOutcome =
                report.volumes > 0 ? .progressed : .failed(report.failure ?? "no volume was made")
            wake(plan.layout, outcome) { $0.growths[plan.layout] = nil }
        }
    }

    /// Answers every request that waits for a layout, after `change`.
    private func wake(
        _ layout: LayoutKey, _ outcome: GrowthOutcome, _ change: (inout MasterShared) -> Void
    ) {
        let waiters = shared.withLock { shared in
            let waiters = shared.growths[layout]?.waiters ?? []
            shared.growths[layout]?.waiters = []
            change(&shared)
            return waiters
        }
        for waiter in waiters { waiter.resume(returning: outcome) }
    }

    /// Makes volumes: chooses servers, takes ids from the log, asks the servers.
    ///
    /// `progress` is called after each volume.
    func grow(_ plan: GrowthPlan, progress: @Sendable () -> Void) async -> GrowthReport {
        let (planned, refusal) = shared.withLock { $0.place(plan) }
        var report = GrowthReport(failure: refusal.map { "\($0)" })
        guard !planned.isEmpty else { return report }
        let ids: Range<VolumeID>
        do {
            ids = try await allocateIDs(planned.count)
        } catch {
            for volume in planned { release(volume, plan.layout) }
            report.failure = "\(error)"
            return report
        }
        await withTaskGroup(of: String?.self) { group in
            var waiting = zip(ids, planned).makeIterator()
            var running = 0
            while true {
                while running < MasterCore.growthParallelism, let (id, volume) = waiting.next() {
                    group.addTask { await self.make(id, volume, plan) }
                    running += 1
                }
                guard let failure = await group.next() else { break }
                running -= 1
                if let failure {
                    report.failure = failure
                } else {
                    report.volumes += 1
                    report.copies += plan.layout.replication.copies
                    progress()
                }
            }
        }
        return report
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
    private func make(_ id: VolumeID, _ volume: PlannedVolume, _ plan: GrowthPlan) async -> String?
    {
        let layout = plan.layout
        let wish = AllocateVolume(
            id: id, collection: layout.collection, replication: layout.replication,
            ttl: layout.ttl, diskType: layout.diskType, preallocate: plan.preallocate)
        let answers = await withTaskGroup(of: (Int, PeerError?).self) { group in
            for (index, server) in volume.servers.enumerated() {
                group.addTask {
                    do throws(PeerError) {
                        try await server.peer.allocateVolume(wish)
                        return (index, nil)
                    } catch {
                        return (index, error)
                    }
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        if let (failed, error) = answers.first(where: { $0.1 != nil }) {
            for (index, error) in answers where error == nil {
                try? await volume.servers[index].peer.deleteVolume(id)
            }
            release(volume, layout)
            let reason = error.map { "\($0)" } ?? ""
            return "volume \(id) could not be made on \(volume.servers[failed].url): \(reason)"
        }
        shared.withLock { shared in
            for server in volume.servers {
                shared.topology.withServer(server.key) { $0.release(layout.diskType) }
            }
            let info = VolumeInfo(
                id: id, collection: layout.collection, replication: layout.replication,
                ttl: layout.ttl, diskType: layout.diskType)
            shared.topology.created(info, on: volume.servers.map(\.key))
        }
        return nil
    }

    private func release(_ volume: PlannedVolume, _ layout: LayoutKey) {
        shared.withLock { shared in
            for server in volume.servers {
                shared.topology.withServer(server.key) { $0.release(layout.diskType) }
            }
        }
    }
}

extension MasterShared {
    /// Servers named in an error.
    private static let namedServers = 20

    /// Why no server takes another volume of a disk type.
    func whyFull(_ diskType: String) -> String {
        let servers = topology.sortedServers
        if servers.isEmpty { return "no volume server is connected" }
        let named = servers.prefix(MasterShared.namedServers).map { $0.whyFull(diskType) }
        let rest = servers.count - named.count
        return (named + (rest > 0 ? ["and \(rest) more"] : [])).joined(separator: "; ")
    }
}
