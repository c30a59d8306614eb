import Logging
import Model
import Synchronization
import Wire

/// A volume that could not be vacuumed is left alone for a while.
struct VacuumFailure {
    var count = 0
    var retryAt: ContinuousClock.Instant
}

/// Which volumes to vacuum.
struct VacuumWish: Sendable {
    /// Share of garbage from which on a volume is compacted.
    var threshold: Double
    /// Only this volume.
    var volume: VolumeID?
    /// Only volumes of this collection.
    var collection: String?
    /// Nobody asked for it: failures are not tried again for a while.
    var isAutomatic = false
}

/// A copy of a volume.
private struct VacuumCopy: Sendable {
    let key: ServerKey
    let url: String
    let peer: any VolumeServerPeer
    var garbage = 0.0
}

/// A volume to look at, with its copies.
private struct VacuumJob: Sendable {
    let volume: VolumeID
    var copies: [VacuumCopy]
}

extension MasterShared {
    /// The next volume whose servers are all idle; its servers are busy from then on.
    fileprivate mutating func nextVacuum(_ pending: inout [VolumeID]) -> VacuumJob? {
        for (position, id) in pending.enumerated() {
            guard let entry = topology.volumes[id], !entry.isVacuuming else { continue }
            let servers = entry.holders.compactMap { topology.servers[$0] }
            guard servers.allSatisfy({ !$0.isVacuuming }) else { continue }
            pending.remove(at: position)
            for server in servers { topology.withServer(server.key) { $0.isVacuuming = true } }
            return VacuumJob(
                volume: id,
                copies: servers.map { VacuumCopy(key: $0.key, url: $0.url, peer: $0.peer) })
        }
        return nil
    }

    fileprivate mutating func finish(_ job: VacuumJob) {
        topology.setVacuuming(job.volume, false)
        for copy in job.copies { topology.withServer(copy.key) { $0.isVacuuming = false } }
    }

    /// Drops what is remembered of volumes that are gone.
    fileprivate mutating func forgetVacuumFailures() {
        let known = topology.volumes
        vacuumFailures = vacuumFailures.filter { known[$0.key] != nil }
    }

    /// Volumes with all copies connected, none of them read-only.
    fileprivate func vacuumCandidates(
        _ wish: VacuumWish, now: ContinuousClock.Instant
    ) -> [VolumeID] {
        topology.volumes.values.filter { entry in
            let copies = topology.copies(entry)
            guard let first = copies.first, copies.count >= first.replication.copies,
                copies.allSatisfy({ !$0.isReadOnly }),
                // a report may be older than what somebody who asks has just written
                !wish.isAutomatic || copies.allSatisfy({ $0.fileCount > 0 }),
                wish.volume == nil || wish.volume == entry.id,
                wish.collection == nil || wish.collection == first.collection
            else { return false }
            guard wish.isAutomatic, let failure = vacuumFailures[entry.id] else { return true }
            return failure.retryAt <= now
        }.map(\.id).sorted()
    }
}

extension MasterCore {
    /// Volumes vacuumed at the same time in the cluster; at most one on each server.
    static let vacuumParallelism = 8
    /// How long a volume is left alone after a failure; doubles with every further one.
    static let vacuumBackOff = Duration.seconds(15 * 60)
    private static let vacuumBackOffDoublings = 6

    /// Compacts every volume with more garbage than wished.
    ///
    /// Returns how many were compacted.
    @discardableResult
    func vacuum(_ wish: VacuumWish) async -> Int {
        let found = shared.withLock { shared -> [VolumeID]? in
            shared.forgetVacuumFailures()
            if wish.isAutomatic, shared.isVacuumDisabled { return nil }
            return shared.vacuumCandidates(wish, now: .now)
        }
        guard var pending = found else { return 0 }
        var compacted = 0
        await withTaskGroup(of: Bool.self) { group in
            var running = 0
            while true {
                while running < MasterCore.vacuumParallelism,
                    let job = shared.withLock({ $0.nextVacuum(&pending) })
                {
                    group.addTask { await self.run(job, threshold: wish.threshold) }
                    running += 1
                }
                guard let done = await group.next() else { break }
                running -= 1
                if done { compacted += 1 }
            }
        }
        return compacted
    }

    /// Vacuums one volume: every copy that has garbage is compacted, one after the other, and only
    /// when all of them are ready do all of them switch.
    ///
    /// Until then the volume is served from what it was, and a failure anywhere leaves it so
    /// everywhere. Returns whether it was compacted.
    private func run(_ job: VacuumJob, threshold: Double) async -> Bool {
        defer { shared.withLock { $0.finish(job) } }
        var begun: [VacuumCopy] = []
        do throws(PeerError) {
            var copies: [VacuumCopy] = []
            for var copy in job.copies {
                copy.garbage = try await named(copy) { peer throws(PeerError) in
                    try await peer.vacuumCheck(job.volume)
                }
                copies.append(copy)
            }
            guard copies.contains(where: { $0.garbage > threshold }) else { return false }
            let wanting = copies.filter { $0.garbage > 0 }
            guard isReady(job) else {
                throw PeerError(.failed, "a copy has gone or another one has come")
            }
            for copy in wanting {
                begun.append(copy)
                try await named(copy) { peer throws(PeerError) in
                    try await peer.vacuumCompact(job.volume)
                }
            }
            // Whoever lost its server meanwhile keeps the copies that are left as they are.
            guard isReady(job) else {
                throw PeerError(.failed, "a copy has gone while it was compacted")
            }
            for copy in wanting {
                try await commit(job.volume, copy)
                begun.removeFirst()
            }
            shared.withLock { $0.vacuumFailures[job.volume] = nil }
            logger.info(
                "volume vacuumed",
                metadata: ["volume": "\(job.volume)", "copies": "\(wanting.count)"])
            return true
        } catch {
            for copy in begun { try? await copy.peer.vacuumCleanup(job.volume) }
            backOff(job.volume)
            logger.warning(
                "volume not vacuumed",
                metadata: ["volume": "\(job.volume)", "error": "\(error)"])
            return false
        }
    }

    /// Asks the server of a copy; its failures name it.
    private func named<T: Sendable>(
        _ copy: VacuumCopy,
        _ ask: (any VolumeServerPeer) async throws(PeerError) -> T
    ) async throws(PeerError) -> T {
        do throws(PeerError) {
            return try await ask(copy.peer)
        } catch {
            throw PeerError(error.kind, "\(copy.url): \(error)")
        }
    }

    /// Takes the volume out of writing; false when its copies are not the ones of the job any more.
    private func isReady(_ job: VacuumJob) -> Bool {
        shared.withLock { shared in
            guard
                shared.topology.volumes[job.volume]?.holders.sorted()
                    == job.copies.map(\.key)
                    .sorted()
            else { return false }
            shared.topology.setVacuuming(job.volume, true)
            return true
        }
    }

    private func commit(_ volume: VolumeID, _ copy: VacuumCopy) async throws(PeerError) {
        let after = try await named(copy) { peer throws(PeerError) in
            try await peer.vacuumCommit(volume)
        }
        shared.withLock { shared in
            shared.topology.withCopy(of: volume, on: copy.key) {
                $0.size = after.size
                $0.deletedByteCount = 0
                $0.readOnlyReason = after.isReadOnly ? "read-only since it was vacuumed" : nil
            }
        }
    }

    private func backOff(_ volume: VolumeID) {
        shared.withLock { shared in
            let count = (shared.vacuumFailures[volume]?.count ?? 0) + 1
            let doublings = min(count - 1, MasterCore.vacuumBackOffDoublings)
            shared.vacuumFailures[volume] = VacuumFailure(
                count: count, retryAt: .now + MasterCore.vacuumBackOff * (1 << doublings))
        }
    }
}
