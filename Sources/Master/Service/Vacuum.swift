import Logging
import Model
import Synchronization
import Wire

/// A volume that could not be vacuumed is left alone for a while.
struct VacuumFailure {
    var count = 0
    var retryAt: ContinuousClock.Instant
}

/// A volume to look at, with its copies.
private struct VacuumJob: Sendable {
    let volume: VolumeID
    let copies: [(key: ServerKey, url: String, peer: any VolumeServerPeer)]
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
            return VacuumJob(volume: id, copies: servers.map { ($0.key, $0.url, $0.peer) })
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
        isAutomatic: Bool, now: ContinuousClock.Instant
    ) -> [VolumeID] {
        topology.volumes.values.filter { entry in
            let copies = topology.copies(entry)
            guard let first = copies.first, copies.count >= first.replication.copies,
                copies.allSatisfy({ !$0.isReadOnly && $0.fileCount > 0 })
            else { return false }
            guard isAutomatic, let failure = vacuumFailures[entry.id] else { return true }
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

    /// Compacts every volume with more than `threshold` garbage.
    ///
    /// Returns how many were compacted.
    @discardableResult
    func vacuum(threshold: Double, isAutomatic: Bool = false) async -> Int {
        var pending = shared.withLock { shared in
            shared.forgetVacuumFailures()
            return shared.vacuumCandidates(isAutomatic: isAutomatic, now: .now)
        }
        var compacted = 0
        await withTaskGroup(of: Bool.self) { group in
            var running = 0
            while true {
                while running < MasterCore.vacuumParallelism,
                    let job = shared.withLock({ $0.nextVacuum(&pending) })
                {
                    group.addTask { await self.run(job, threshold: threshold) }
                    running += 1
                }
                guard let done = await group.next() else { break }
                running -= 1
                if done { compacted += 1 }
            }
        }
        return compacted
    }

    /// Vacuums one volume.
    ///
    /// Returns whether a copy was compacted.
    private func run(_ job: VacuumJob, threshold: Double) async -> Bool {
        defer { shared.withLock { $0.finish(job) } }
        do throws(PeerError) {
            var wanting: [(key: ServerKey, url: String, peer: any VolumeServerPeer)] = []
            for copy in job.copies where try await copy.peer.vacuumCheck(job.volume) > threshold {
                wanting.append(copy)
            }
            guard !wanting.isEmpty else { return false }
            shared.withLock { $0.topology.setVacuuming(job.volume, true) }
            // One copy after the other: the volume is always served by those not being compacted.
            for copy in wanting { try await compact(job.volume, on: copy.key, copy.peer) }
            shared.withLock { $0.vacuumFailures[job.volume] = nil }
            logger.info(
                "volume vacuumed",
                metadata: ["volume": "\(job.volume)", "copies": "\(wanting.count)"])
            return true
        } catch {
            backOff(job.volume)
            logger.warning(
                "volume not vacuumed",
                metadata: ["volume": "\(job.volume)", "error": "\(error)"])
            return false
        }
    }

    private func compact(
        _ volume: VolumeID, on key: ServerKey, _ peer: any VolumeServerPeer
    ) async throws(PeerError) {
        do throws(PeerError) {
            try await peer.vacuumCompact(volume)
            let after = try await peer.vacuumCommit(volume)
            shared.withLock { shared in
                shared.topology.withCopy(of: volume, on: key) {
                    $0.size = after.size
                    $0.deletedByteCount = 0
                    $0.readOnlyReason = after.isReadOnly ? "read-only since it was vacuumed" : nil
                }
            }
        } catch {
            try? await peer.vacuumCleanup(volume)
            throw error
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
