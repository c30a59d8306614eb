internal import GRPCCore
public import Model
public import Wire
internal import SwiftProtobuf
internal import WireMessages

/// A volume server elsewhere, as a master sees it.
public struct GRPCVolumeServerPeer: VolumeServerPeer {
    /// How long creating or deleting a volume may take.
    static let changeTimeout = Duration.seconds(60)
    /// How long a question may take.
    static let questionTimeout = Duration.seconds(10)
    /// How long a whole compaction may take.
    static let compactionTimeout = Duration.seconds(6 * 3600)

    /// Where it is.
    public let address: PeerAddress
    private let channels: PeerChannels

    /// A volume server; `address` has its gRPC port.
    public init(_ address: PeerAddress, channels: PeerChannels) {
        self.address = address
        self.channels = channels
    }

    private typealias Client = VolumeServerPb_VolumeServer.Client<HTTP2Transport>

    private func call<R: Sendable>(
        _ timeout: Duration, _ body: @Sendable (Client, CallOptions) async throws -> R
    ) async throws(PeerError) -> R {
        try await channels.call(address, timeout: timeout) { client, options in
            try await body(Client(wrapping: client), options)
        }
    }

    /// Creates an empty volume; durable, directory entry included, when it returns.
    public func allocateVolume(_ request: AllocateVolume) async throws(PeerError) {
        try await call(GRPCVolumeServerPeer.changeTimeout) { client, options in
            _ = try await client.allocateVolume(
                .with {
                    $0.volumeID = request.id
                    $0.collection = request.collection
                    $0.replication = "\(request.replication)"
                    $0.ttl = "\(request.ttl)"
                    $0.diskType = request.diskType
                    $0.preallocate = Int64(clamping: request.preallocate)
                    $0.version = 3
                }, options: options)
        }
    }

    /// Deletes a volume and its files.
    public func deleteVolume(_ id: VolumeID) async throws(PeerError) {
        try await call(GRPCVolumeServerPeer.changeTimeout) { client, options in
            _ = try await client.volumeDelete(.with { $0.volumeID = id }, options: options)
        }
    }

    /// Deletes every volume of a collection.
    public func deleteCollection(_ name: String) async throws(PeerError) {
        try await call(GRPCVolumeServerPeer.changeTimeout) { client, options in
            _ = try await client.deleteCollection(.with { $0.collection = name }, options: options)
        }
    }

    /// The share of garbage in a volume, 0 to 1.
    public func vacuumCheck(_ id: VolumeID) async throws(PeerError) -> Double {
        try await call(GRPCVolumeServerPeer.questionTimeout) { client, options in
            let answer = try await client.vacuumVolumeCheck(
                .with { $0.volumeID = id }, options: options)
            return answer.garbageRatio.isFinite ? min(max(answer.garbageRatio, 0), 1) : 0
        }
    }

    /// Copies the live needles of a volume aside; the volume keeps serving.
    public func vacuumCompact(_ id: VolumeID) async throws(PeerError) {
        try await call(GRPCVolumeServerPeer.compactionTimeout) { client, options in
            try await client.vacuumVolumeCompact(.with { $0.volumeID = id }, options: options) {
                // the end of the answers is the answer
                for try await _ in $0.messages {}
            }
        }
    }

    /// Switches the volume to the copy.
    public func vacuumCommit(
        _ id: VolumeID
    ) async throws(PeerError) -> (isReadOnly: Bool, size: UInt64) {
        try await call(GRPCVolumeServerPeer.changeTimeout) { client, options in
            let answer = try await client.vacuumVolumeCommit(
                .with { $0.volumeID = id }, options: options)
            return (answer.isReadOnly, answer.volumeSize)
        }
    }

    /// Discards the copy.
    public func vacuumCleanup(_ id: VolumeID) async throws(PeerError) {
        try await call(GRPCVolumeServerPeer.changeTimeout) { client, options in
            _ = try await client.vacuumVolumeCleanup(.with { $0.volumeID = id }, options: options)
        }
    }
}
