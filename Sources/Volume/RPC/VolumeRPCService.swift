public import GRPCCore
import Model
import NIOPosix
import Needles
public import RPC
import SwiftProtobuf
import Wire
public import WireMessages

/// What masters, filers and tools ask of a volume server over gRPC.
///
/// A method that is not here is answered `UNIMPLEMENTED` with its name.
public struct VolumeRPCService: VolumeServerPb_VolumeServer.SimpleServiceProtocol {
    typealias Pb = VolumeServerPb_VolumeServer

    let service: VolumeService
    let peer: VolumePeer
    /// Connections for pings of other servers.
    let channels: PeerChannels?
    /// Tells the master that a volume was marked, before and after it was.
    let announce: Announcement?

    /// Tells a master that the copy here of a volume is to be taken out of writing, or back.
    public typealias Announcement = @Sendable (VolumeMark) async throws -> Void

    /// The methods of a running server.
    public init(
        service: VolumeService, channels: PeerChannels? = nil, announce: Announcement? = nil
    ) {
        self.service = service
        self.channels = channels
        self.announce = announce
        peer = VolumePeer(service: service)
    }

    /// Runs `work` on a thread that may wait for the disk, and names errors as the original does.
    func run<R: Sendable>(
        on pool: NIOThreadPool? = nil, _ work: @escaping @Sendable (VolumeStore) throws -> R
    ) async throws -> R {
        let store = service.store
        do {
            return try await (pool ?? service.adminPool).runIfActive { try work(store) }
        } catch let error as NeedleError {
            throw VolumeRPCService.status(error)
        }
    }

    static func status(_ error: NeedleError) -> RPCError {
        switch error {
        case .noVolume, .notFound: RPCError(code: .notFound, message: "\(error)")
        case .overloaded: RPCError(code: .resourceExhausted, message: "\(error)")
        default: RPCError(code: .unknown, message: "\(error)")
        }
    }

    /// The volume, or `otherwise` as the error.
    static func volume(
        _ id: VolumeID, _ store: VolumeStore, otherwise: RPCError
    ) throws -> Volume {
        guard let volume = store.volume(id) else { throw otherwise }
        return volume
    }
}

extension VolumeRPCService {
    /// Creates an empty volume; durable, directory entry included, when it answers.
    public func allocateVolume(
        request: VolumeServerPb_AllocateVolumeRequest, context: ServerContext
    ) async throws -> VolumeServerPb_AllocateVolumeResponse {
        let replication: ReplicaPlacement
        let ttl: TimeToLive
        do {
            replication = try ReplicaPlacement(parsing: request.replication)
            ttl = try TimeToLive(parsing: request.ttl)
        } catch {
            throw RPCError(code: .invalidArgument, message: "\(error)")
        }
        guard request.version == 0 || request.version == 3 else {
            throw RPCError(
                code: .invalidArgument,
                message: "volumes of version \(request.version) are read, not made: ask for 3")
        }
        try await run { store in
            do {
                _ = try store.create(
                    request.volumeID, collection: request.collection, replication: replication,
                    ttl: ttl, diskType: DiskTypeName.inner(request.diskType),
                    preallocate: UInt64(clamping: request.preallocate))
            } catch NeedleError.exists(let id) {
                throw RPCError(code: .unknown, message: "Volume Id \(id) already exists!")
            }
        }
        return .init()
    }

    /// Deletes a volume and its files.
    public func volumeDelete(
        request: VolumeServerPb_VolumeDeleteRequest, context: ServerContext
    ) async throws -> VolumeServerPb_VolumeDeleteResponse {
        let id = request.volumeID
        try await run { store in
            let info = try VolumeRPCService.volume(
                id, store,
                otherwise: RPCError(
                    code: .notFound, message: "delete volume \(id) not found on disk")
            ).info
            let live = info.fileCount - min(info.deleteCount, info.fileCount)
            if (request.onlyEmpty || request.onlyGarbage) && live > 0 {
                throw RPCError(
                    code: .failedPrecondition,
                    message: "delete volume \(id): volume not empty: it holds \(live) files")
            }
            try store.delete(id)
        }
        return .init()
    }

    /// Deletes every volume of a collection; of an unknown one, none.
    public func deleteCollection(
        request: VolumeServerPb_DeleteCollectionRequest, context: ServerContext
    ) async throws -> VolumeServerPb_DeleteCollectionResponse {
        try await peer.deleteCollection(request.collection)
        return .init()
    }

    /// Whether a volume takes writes, its size and its number of files.
    public func volumeStatus(
        request: VolumeServerPb_VolumeStatusRequest, context: ServerContext
    ) async throws -> VolumeServerPb_VolumeStatusResponse {
        let info = try VolumeRPCService.volume(
            request.volumeID, service.store,
            otherwise: RPCError(
                code: .unknown, message: "not found volume id \(request.volumeID)")
        ).info
        return .with {
            $0.isReadOnly = info.isReadOnly
            $0.volumeSize = info.size
            $0.fileCount = info.fileCount
            $0.fileDeletedCount = info.deleteCount
        }
    }

    /// Times, sizes and revision of a volume's files; there is no index file in the original's
    /// format, so of that nothing is told.
    public func readVolumeFileStatus(
        request: VolumeServerPb_ReadVolumeFileStatusRequest, context: ServerContext
    ) async throws -> VolumeServerPb_ReadVolumeFileStatusResponse {
        let info = try VolumeRPCService.volume(
            request.volumeID, service.store,
            otherwise: RPCError(
                code: .notFound, message: "not found volume id \(request.volumeID)")
        ).info
        return .with {
            $0.volumeID = info.id
            $0.datFileTimestampSeconds = UInt64(clamping: info.modifiedAtSecond)
            $0.datFileSize = info.size
            $0.fileCount = info.fileCount
            $0.compactionRevision = UInt32(info.compactRevision)
            $0.collection = info.collection
            $0.diskType = info.diskType
            $0.version = UInt32(info.version)
        }
    }
}
