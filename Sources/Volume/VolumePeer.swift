public import Model
import NIOPosix
import Needles
public import Wire

/// What a master may ask of a volume server, carried out on threads that may wait for the disk.
public struct VolumePeer: VolumeServerPeer {
    let service: VolumeService

    /// The peer of a running server.
    public init(service: VolumeService) { self.service = service }

    /// Creates an empty volume; durable, directory entry included, when it returns.
    public func allocateVolume(_ request: AllocateVolume) async throws(PeerError) {
        try await run { store in
            _ = try store.create(
                request.id, collection: request.collection, replication: request.replication,
                ttl: request.ttl, diskType: request.diskType, preallocate: request.preallocate)
        }
    }

    /// Deletes a volume and its files.
    public func deleteVolume(_ id: VolumeID) async throws(PeerError) {
        try await run { store in try store.delete(id) }
    }

    /// Deletes every volume of a collection.
    public func deleteCollection(_ name: String) async throws(PeerError) {
        try await run { store in _ = try store.deleteCollection(name) }
    }

    /// The share of garbage in a volume, 0 to 1.
    public func vacuumCheck(_ id: VolumeID) async throws(PeerError) -> Double {
        try await run { store in try volume(id, store).info.garbageRatio }
    }

    /// Copies the live needles of a volume aside; the volume keeps serving.
    public func vacuumCompact(_ id: VolumeID) async throws(PeerError) {
        try await run { store in try volume(id, store).compact() }
    }

    /// Switches the volume to the copy.
    public func vacuumCommit(
        _ id: VolumeID
    ) async throws(PeerError) -> (isReadOnly: Bool, size: UInt64) {
        try await run { store in
            let volume = try volume(id, store)
            try volume.commitCompaction()
            let info = volume.info
            return (info.isReadOnly, info.size)
        }
    }

    /// Discards the copy.
    public func vacuumCleanup(_ id: VolumeID) async throws(PeerError) {
        try await run { store in try volume(id, store).discardCompaction() }
    }

    private func volume(_ id: VolumeID, _ store: VolumeStore) throws(NeedleError) -> Volume {
        guard let volume = store.volume(id) else { throw .noVolume(id) }
        return volume
    }

    private func run<T: Sendable>(
        _ work: @escaping @Sendable (VolumeStore) throws -> T
    ) async throws(PeerError) -> T {
        let store = service.store
        do {
            return try await service.adminPool.runIfActive { try work(store) }
        } catch let error as NeedleError {
            throw PeerError(VolumePeer.kind(of: error), "\(service.url): \(error)")
        } catch {
            throw PeerError(.unreachable, "\(service.url): \(error)")
        }
    }

    private static func kind(of error: NeedleError) -> PeerError.Kind {
        switch error {
        case .noVolume, .notFound: .notFound
        case .exists, .readOnly, .invalid: .refused
        default: .failed
        }
    }
}
