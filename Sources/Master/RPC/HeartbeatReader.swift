import Model
import RPC
import WireMessages

/// Reads what one volume server sends over its stream.
///
/// The first message with an address says who it is for as long as the stream lasts; later ones
/// may lack it.
struct HeartbeatReader {
    private(set) var server: ServerIdentity?

    /// What a message says; `nil` when it cannot be told of whom.
    mutating func read(_ message: MasterPb_Heartbeat) -> Heartbeat? {
        // Deltas name the address only: what they lack is not news.
        let isFull = message.grpcPort > 0 || !message.maxVolumeCounts.isEmpty
        if !message.ip.isEmpty, server == nil || isFull { identify(message) }
        guard let server else { return nil }
        var beat = Heartbeat(server: server)
        for (type, count) in message.maxVolumeCounts { beat.maxVolumes[type] = Int(count) }
        beat.largestKey = message.maxFileKey
        if !message.volumes.isEmpty || message.hasNoVolumes_p {
            beat.volumes = message.volumes.map { VolumeInfo($0) }
        }
        beat.added = message.newVolumes.map { VolumeInfo($0) }
        beat.added += message.changedVolumes.map { VolumeInfo($0) }
        // In one message what came counts more than what went.
        let added = Set(beat.added.map(\.id))
        beat.removed = message.deletedVolumes.map(\.id).filter { !added.contains($0) }
        if message.hasState { beat.isInMaintenance = message.state.maintenance }
        if isFull { beat.problems = message.directoryProblems }
        beat.topologyID = message.topologyID
        return beat
    }

    private mutating func identify(_ message: MasterPb_Heartbeat) {
        guard (1...UInt32(UInt16.max)).contains(message.port) else { return }
        let address = PeerAddress(
            host: message.ip, port: Int(message.port),
            grpcPort: Int(clamping: min(message.grpcPort, UInt32(UInt16.max))))
        var identity = ServerIdentity(id: message.id, url: address.http)
        if identity.id.isEmpty {
            identity.id = server.flatMap { $0.url == identity.url ? $0.id : nil } ?? identity.url
        }
        identity.publicURL = message.publicURL
        identity.grpcPort = address.grpcPort
        identity.dataCenter = message.dataCenter
        identity.rack = message.rack
        identity.directories = Set(message.locationUuids.filter { !$0.isEmpty })
        server = identity
    }
}
