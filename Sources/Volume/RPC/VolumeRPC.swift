public import Logging
public import NIOPosix
public import RPC

/// The gRPC side of a volume server.
public enum VolumeRPC {
    /// Bytes of the largest request; no method here takes a file.
    static let requestBytes = 64 << 20

    /// Starts answering masters, filers and tools on a port of its own.
    ///
    /// `master` hears when a volume is marked read-only or writable. Who may write over HTTP may
    /// call; others are refused, except the masters.
    public static func start(
        _ service: VolumeService, host: String, port: Int, group: MultiThreadedEventLoopGroup,
        channels: PeerChannels, master: RemoteMaster?, logger: Logger
    ) async throws(RPCServerError) -> RPCServer {
        let announce = master.map { master -> VolumeRPCService.Announcement in
            { mark in
                try await master.mark(
                    mark.volume, isReadOnly: mark.isReadOnly, at: service.url)
            }
        }
        return try await RPCServer.start(
            host: host, port: port,
            services: [
                VolumeRPCService(service: service, channels: channels, announce: announce)
            ],
            group: group, maxRequestBytes: requestBytes, admits: { admits($0, service, master) },
            logger: logger)
    }

    /// Whether an address may call: it may write, or is a master's.
    private static func admits(
        _ address: String, _ service: VolumeService, _ master: RemoteMaster?
    ) -> Bool {
        if service.access.allows(address) { return true }
        guard let heartbeat = master?.heartbeat else { return false }
        let masters =
            heartbeat.configuration.masters
            + heartbeat.memory.masters.compactMap { PeerAddress($0) }
        return masters.contains { $0.host == address }
    }
}
