import Logging
import Model
import Synchronization
import Wire

/// Volumes with a time to live that nothing was written to.
///
/// A volume server deletes a volume when the time of its last file is over; one without files
/// would stay for ever and use up a slot.
enum EmptyVolumeRule {
    /// How long a volume takes no files before it is deleted: what was assigned arrives meanwhile.
    static let drain = Duration.seconds(60)
    /// The least time it is kept empty.
    static let least = Duration.seconds(10 * 60)
    /// Volumes that are retired at the same time.
    static let batch = 100

    /// How long a volume may be empty.
    static func patience(_ ttl: TimeToLive) -> Duration {
        max(least, .seconds(Int64(clamping: ttl.seconds)))
    }
}

/// A volume that is to be deleted on its servers.
struct EmptyVolume: Sendable {
    let id: VolumeID
    let servers: [(key: ServerKey, url: String, peer: any VolumeServerPeer)]
}

extension MasterShared {
    /// Retires volumes that have been empty for their time to live, and names those that have
    /// taken no files for long enough since.
    mutating func emptyVolumes(now: ContinuousClock.Instant) -> [EmptyVolume] {
        var since: [VolumeID: ContinuousClock.Instant] = [:]
        var over: [EmptyVolume] = []
        var retiring = 0
        for entry in topology.volumes.values {
            let copies = topology.copies(entry)
            guard let first = copies.first, !first.ttl.isNone, !entry.isVacuuming,
                copies.count >= first.replication.copies,
                copies.allSatisfy({ $0.fileCount == 0 && $0.size <= 8 })
            else {
                // A file arrived just in time.
                if entry.isRetiring, !abandoned.contains(entry.id) {
                    topology.setRetiring(entry.id, false)
                }
                continue
            }
            let start = emptySince[entry.id] ?? now
            since[entry.id] = start
            let patience = EmptyVolumeRule.patience(first.ttl)
            if !entry.isRetiring, now - start >= patience, retiring < EmptyVolumeRule.batch {
                retiring += 1
                // The drain counts from here, however late this look is.
                since[entry.id] = now - patience
                topology.setRetiring(entry.id, true)
            } else if entry.isRetiring, !abandoned.contains(entry.id),
                now - start >= patience + EmptyVolumeRule.drain
            {
                let servers = entry.holders.compactMap { topology.servers[$0] }
                over.append(
                    EmptyVolume(id: entry.id, servers: servers.map { ($0.key, $0.url, $0.peer) }))
            }
        }
        emptySince = since
        return over
    }
}

extension MasterCore {
    /// Deletes volumes with a time to live that nothing was written to.
    func deleteEmptyVolumes(now: ContinuousClock.Instant) async {
        for volume in shared.withLock({ $0.emptyVolumes(now: now) }) {
            for server in volume.servers {
                do throws(PeerError) {
                    try await server.peer.deleteVolume(volume.id)
                } catch {
                    guard error.kind == .notFound else {
                        logger.warning(
                            "empty volume \(volume.id) could not be deleted",
                            metadata: ["server": "\(server.url)", "error": "\(error)"])
                        continue
                    }
                }
                change { $0.topology.deleted(volume.id, on: server.key) }
            }
            logger.info("empty volume deleted", metadata: ["volume": "\(volume.id)"])
        }
    }
}
