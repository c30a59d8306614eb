public import GRPCCore
public import Model
import Needles
import Platform
import RPC
import SwiftProtobuf
public import WireMessages

/// A volume here that is to be taken out of writing, or back.
public struct VolumeMark: Sendable, Hashable {
    /// What the volume reports of itself.
    public var volume: VolumeInfo
    /// Whether it takes no writes.
    public var isReadOnly: Bool

    /// A mark.
    public init(volume: VolumeInfo, isReadOnly: Bool) {
        self.volume = volume
        self.isReadOnly = isReadOnly
    }
}

extension VolumeRPCService {
    /// Takes a volume out of writing; the master hears of it first, so that no id is handed out for
    /// it meanwhile.
    public func volumeMarkReadonly(
        request: VolumeServerPb_VolumeMarkReadonlyRequest, context: ServerContext
    ) async throws -> VolumeServerPb_VolumeMarkReadonlyResponse {
        let volume = try marked(request.volumeID)
        try await announce?(VolumeMark(volume: volume.info, isReadOnly: true))
        volume.setReadOnly("marked read only by a call")
        try await announce?(VolumeMark(volume: volume.info, isReadOnly: true))
        return .init()
    }

    /// Lets a volume take writes again.
    public func volumeMarkWritable(
        request: VolumeServerPb_VolumeMarkWritableRequest, context: ServerContext
    ) async throws -> VolumeServerPb_VolumeMarkWritableResponse {
        let volume = try marked(request.volumeID)
        volume.setReadOnly(nil)
        if let reason = volume.info.readOnlyReason {
            throw RPCError(
                code: .failedPrecondition,
                message: "volume \(request.volumeID) stays read only: \(reason)")
        }
        try await announce?(VolumeMark(volume: volume.info, isReadOnly: false))
        return .init()
    }

    private func marked(_ id: VolumeID) throws -> Volume {
        try VolumeRPCService.volume(
            id, service.store,
            otherwise: RPCError(code: .unknown, message: "volume \(id) not found"))
    }

    /// Version, place and disks of this server.
    public func volumeServerStatus(
        request: VolumeServerPb_VolumeServerStatusRequest, context: ServerContext
    ) async throws -> VolumeServerPb_VolumeServerStatusResponse {
        let directories = try await run { store in store.directoryStatuses }
        let types = service.configuration.store.directories.map(\.diskType)
        return .with {
            $0.diskStatuses = zip(directories, types).map(VolumeRPCService.message)
            $0.memoryStatus = .init()
            $0.version = service.configuration.version
            $0.dataCenter = service.configuration.dataCenter
            $0.rack = service.configuration.rack
            $0.state = .init()
        }
    }

    private static func message(
        _ directory: DirectoryStatus, _ type: String
    ) -> VolumeServerPb_DiskStatus {
        let all = Float(max(1, directory.all))
        return .with {
            $0.dir = directory.path
            $0.all = directory.all
            $0.used = directory.used
            $0.free = directory.free
            $0.percentFree = 100 * Float(directory.free) / all
            $0.percentUsed = 100 * Float(directory.used) / all
            $0.diskType = type
            $0.error = directory.problem ?? ""
        }
    }

    /// How long a pinged server may take.
    static let pingTimeout = Duration.seconds(5)

    /// Tells the time; with a target, also that server's.
    public func ping(
        request: VolumeServerPb_PingRequest, context: ServerContext
    ) async throws -> VolumeServerPb_PingResponse {
        let start = Int64(clamping: WallClock.nanoseconds)
        guard !request.target.isEmpty else {
            return .with {
                $0.startTimeNs = start
                $0.remoteTimeNs = start
                $0.stopTimeNs = Int64(clamping: WallClock.nanoseconds)
            }
        }
        guard let channels, let address = PeerAddress(request.target) else {
            throw unknownTarget(request)
        }
        let remote: Int64
        switch request.targetType {
        case "master":
            remote = try await channels.call(address, timeout: VolumeRPCService.pingTimeout) {
                try await MasterPb_Seaweed.Client(wrapping: $0).ping(.init(), options: $1)
                    .startTimeNs
            }
        case "volumeServer":
            remote = try await channels.call(address, timeout: VolumeRPCService.pingTimeout) {
                try await Pb.Client(wrapping: $0).ping(.init(), options: $1).startTimeNs
            }
        default: throw unknownTarget(request)
        }
        return .with {
            $0.startTimeNs = start
            $0.remoteTimeNs = remote
            $0.stopTimeNs = Int64(clamping: WallClock.nanoseconds)
        }
    }

    private func unknownTarget(_ request: VolumeServerPb_PingRequest) -> RPCError {
        RPCError(
            code: .invalidArgument,
            message: "unknown ping target \(request.target) of type \(request.targetType)")
    }
}
