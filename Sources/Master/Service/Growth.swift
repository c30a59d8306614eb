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
}

extension MasterCore {
    /// Requests that may wait for the volumes of one layout.
    static let growthWaiters = 10_000
    /// How long a request waits for volumes.
    static let growthPatience = Duration.seconds(10)
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
