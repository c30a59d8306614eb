public import GRPCCore
import Model
import Needles
import SwiftProtobuf
public import WireMessages

extension VolumeRPCService {
    /// The share of garbage in a volume.
    public func vacuumVolumeCheck(
        request: VolumeServerPb_VacuumVolumeCheckRequest, context: ServerContext
    ) async throws -> VolumeServerPb_VacuumVolumeCheckResponse {
        let ratio = try await peer.vacuumCheck(request.volumeID)
        return .with { $0.garbageRatio = ratio }
    }

    /// Copies the live needles of a volume aside; the end of the answers says that it is done.
    ///
    /// An answer every second says that it still goes on: a caller that hears nothing for minutes
    /// may take this server for dead.
    public func vacuumVolumeCompact(
        request: VolumeServerPb_VacuumVolumeCompactRequest,
        response: RPCWriter<VolumeServerPb_VacuumVolumeCompactResponse>, context: ServerContext
    ) async throws {
        let id = request.volumeID
        let size = service.store.volume(id)?.info.size ?? 0
        let peer = peer
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                while true {
                    try await Task.sleep(for: VolumeRPCService.progressInterval)
                    try await response.write(.init())
                }
            }
            group.addTask { try await peer.vacuumCompact(id) }
            // a caller that went away ends the first task; the copy goes on until it is discarded
            try await group.next()
            group.cancelAll()
        }
        try await response.write(.with { $0.processedBytes = Int64(clamping: size) })
    }

    /// Time between two signs of life of a compaction.
    static let progressInterval = Duration.seconds(1)

    /// Switches the volume to the copy.
    public func vacuumVolumeCommit(
        request: VolumeServerPb_VacuumVolumeCommitRequest, context: ServerContext
    ) async throws -> VolumeServerPb_VacuumVolumeCommitResponse {
        let (isReadOnly, size) = try await peer.vacuumCommit(request.volumeID)
        return .with {
            $0.isReadOnly = isReadOnly
            $0.volumeSize = size
        }
    }

    /// Discards the copy.
    public func vacuumVolumeCleanup(
        request: VolumeServerPb_VacuumVolumeCleanupRequest, context: ServerContext
    ) async throws -> VolumeServerPb_VacuumVolumeCleanupResponse {
        try await peer.vacuumCleanup(request.volumeID)
        return .init()
    }
}
