public import Logging
public import Model
public import Wire
internal import GRPCCore
internal import SwiftProtobuf
internal import WireMessages

/// The masters of a cluster, as a volume server sees them, over gRPC.
public struct RemoteMaster: MasterPeer {
    /// How long a report waits for a leader before it fails.
    static let joinTime = Duration.seconds(3)
    /// How long the farewell may take.
    static let farewellTime = Duration.seconds(2)
    /// How long a question may take.
    static let questionTime = Duration.seconds(5)

    /// Finds the leader and reports to it.
    public let heartbeat: HeartbeatClient
    private let channels: PeerChannels

    /// Reports as the configuration says, from the first report on.
    public init(
        _ configuration: HeartbeatConfiguration, channels: PeerChannels, logger: Logger
    ) {
        self.channels = channels
        heartbeat = HeartbeatClient(configuration, channels: channels, logger: logger)
    }

    /// Hands the report to the stream; throws when no master takes reports.
    public func report(
        _ report: ServerReport, from peer: any VolumeServerPeer
    ) async throws(PeerError) -> ReportReply {
        heartbeat.update(report)
        guard let membership = await heartbeat.joined(within: RemoteMaster.joinTime) else {
            throw PeerError(.unreachable, heartbeat.problem)
        }
        let memory = heartbeat.memory
        return ReportReply(
            volumeSizeLimit: membership.volumeSizeLimit, topologyID: memory.topologyID,
            masters: memory.masters.isEmpty ? [membership.master.http] : memory.masters)
    }

    /// Tells the leader that this server goes, and reports no more.
    public func disconnected(_ serverID: String) async {
        await heartbeat.stop(within: RemoteMaster.farewellTime)
    }

    /// `host:port` of the servers that hold a volume; empty when none is known.
    ///
    /// Every master answers this, so while no leader is known any other will do.
    public func locations(of volume: VolumeID) async throws(PeerError) -> [String] {
        var problem = PeerError(.unreachable, heartbeat.problem)
        for master in heartbeat.mastersToAsk {
            do throws(PeerError) {
                let answer = try await channels.call(master, timeout: RemoteMaster.questionTime) {
                    client, options in
                    try await Client(wrapping: client).lookupVolume(
                        .with { $0.volumeOrFileIds = ["\(volume)"] }, options: options)
                }
                return answer.volumeIDLocations.first { $0.volumeOrFileID == "\(volume)" }?
                    .locations.map(\.url) ?? []
            } catch {
                problem = error
            }
        }
        throw problem
    }

    /// Takes the copy of a volume here out of writing, or back: the leader hears of it at once.
    public func mark(
        _ volume: VolumeInfo, isReadOnly: Bool, at url: String
    ) async throws(PeerError) {
        guard let address = PeerAddress(url) else {
            throw PeerError(.refused, "\"\(url)\" is no address of a volume server")
        }
        try await askMaster { client, options in
            _ = try await client.volumeMarkReadonly(
                .with {
                    $0.ip = address.host
                    $0.port = UInt32(clamping: address.port)
                    $0.volumeID = volume.id
                    $0.collection = volume.collection
                    $0.replicaPlacement = UInt32(volume.replication.stored)
                    $0.version = UInt32(volume.version)
                    $0.ttl = volume.ttl.message
                    $0.diskType = volume.diskType
                    $0.isReadonly = isReadOnly
                }, options: options)
        }
    }

    private typealias Client = MasterPb_Seaweed.Client<HTTP2Transport>

    /// Asks the leader.
    private func askMaster<R: Sendable>(
        _ body: @Sendable (Client, CallOptions) async throws -> R
    ) async throws(PeerError) -> R {
        guard let master = await heartbeat.joined(within: RemoteMaster.joinTime)?.master else {
            throw PeerError(.unreachable, heartbeat.problem)
        }
        return try await channels.call(master, timeout: RemoteMaster.questionTime) {
            try await body(Client(wrapping: $0), $1)
        }
    }
}
