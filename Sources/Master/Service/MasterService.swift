import HTTPServer
public import Logging
import Model
public import NIOCore
public import NIOPosix
import RPC
import RaftLog
import Synchronization
public import Wire

/// A running master server.
public final class MasterService: Sendable {
    /// How long calls under way may take once a stop was asked for.
    private static let streamGrace = Duration.seconds(2)
    /// Seconds between two looks at growth.
    private static let tickSeconds = 5
    /// Seconds between two looks for empty volumes whose time is over.
    private static let emptyVolumeSeconds = 60

    private let core: MasterCore
    private let host: SingleNodeHost
    private let durable: LogState
    private let server: HTTPServer
    private let remote: Remote?
    private let tasks = Mutex<[Task<Void, Never>]>([])
    /// What was found at start, one line each: identity, what was recovered, how long it took.
    public let startReport: [String]

    /// The gRPC side.
    private struct Remote: Sendable {
        let server: RPCServer
        let channels: PeerChannels
    }

    private init(
        core: MasterCore, host: SingleNodeHost, durable: LogState, server: HTTPServer,
        remote: Remote?, startReport: [String]
    ) {
        self.remote = remote
        self.core = core
        self.host = host
        self.durable = durable
        self.server = server
        self.startReport = startReport
    }

    /// Recovers the state in the configuration's directory, reserves needle keys, and serves.
    ///
    /// gRPC is served on threads of `remoteGroup`; without one it is not served.
    /// Throws ``MasterError`` when the directory is in use by another process, cannot be made, or
    /// holds what cannot be read, and what binding the port throws.
    public static func start(
        _ configuration: MasterConfiguration, group: any EventLoopGroup,
        remoteGroup: MultiThreadedEventLoopGroup? = nil, logger: Logger
    ) async throws -> MasterService {
        let began = ContinuousClock.now
        let whiteList = WhiteList(configuration.whiteList)
        guard whiteList.invalid.isEmpty else { throw MasterError.whiteList(whiteList.invalid) }
        try MasterDirectory.make(configuration.directory)
        let log = try openLog(configuration.directory + "/raft")
        let durable = LogState(log)
        do {
            let host = try await SingleNodeHost(recovering: durable)
            let isNew = host.appliedIndex == 0
            try await identify(log, host)
            let core = MasterCore(
                configuration: configuration, state: host.state, proposer: host,
                hints: ServerHints(directory: configuration.directory, lane: durable.lane),
                logger: logger)
            let recovered = ContinuousClock.now
            try await core.start()
            let server = try await HTTPServer.start(
                host: configuration.host, port: configuration.port, group: group, logger: logger,
                handler: MasterHandler(core: core))
            let remote: Remote?
            do {
                remote = try await startRemote(core, httpPort: server.port, remoteGroup)
            } catch {
                await server.shutdown(grace: .zero)
                throw error
            }
            let service = MasterService(
                core: core, host: host, durable: durable, server: server, remote: remote,
                startReport: report(
                    core, host, node: log.nodeName, isNew: isNew, seconds: recovered - began))
            for line in service.startReport { logger.info("\(line)") }
            service.startPeriodicWork()
            return service
        } catch {
            durable.close()
            throw error
        }
    }

    /// Serves gRPC; the addresses are known from here on.
    private static func startRemote(
        _ core: MasterCore, httpPort: Int, _ group: MultiThreadedEventLoopGroup?
    ) async throws -> Remote? {
        let wanted = core.configuration.grpcPort
        guard let group else {
            core.bound(port: httpPort, grpcPort: wanted)
            return nil
        }
        // A free port for one means a free port for the other.
        let usual = core.configuration.port == 0 ? 0 : httpPort + PeerAddress.grpcOffset
        let channels = PeerChannels(group: group)
        let server = try await RPCServer.start(
            host: core.configuration.host, port: wanted > 0 ? wanted : usual,
            services: [MasterRPC(core: core, peers: PeerSource(channels))], group: group,
            maxRequestBytes: RPCSettings.heartbeatBytes, logger: core.logger)
        core.bound(port: httpPort, grpcPort: server.port)
        return Remote(server: server, channels: channels)
    }

    /// The port bound.
    public var port: Int { server.port }

    /// The port bound for gRPC; `nil` when it is not served.
    public var grpcPort: Int? { remote?.server.port }

    /// The cluster's identity.
    public var topologyID: String { core.topologyID }

    /// How a volume server in the same process talks to this master.
    public var peer: any MasterPeer { MasterPeerSide(core: core) }

    /// Stops accepting, lets answers under way finish for at most `grace`, then closes the state.
    public func shutdown(grace: TimeAmount) async {
        let running = tasks.withLock { tasks in
            defer { tasks = [] }
            return tasks
        }
        for task in running { task.cancel() }
        core.shared.withLock { $0.watchers.leaveAll() }
        // Streams of volume servers do not end by themselves.
        let remoteGrace = min(Duration.nanoseconds(grace.nanoseconds), MasterService.streamGrace)
        await remote?.server.shutdown(grace: remoteGrace)
        await server.shutdown(grace: grace)
        await remote?.channels.close()
        // Not awaited: a compaction may take long, and nothing it still does needs the log.
        durable.close()
    }

    // MARK: Start

    private static func openLog(_ directory: String) throws(MasterError) -> RaftLog {
        do {
            return try RaftLog(directory: directory)
        } catch {
            throw .log(error)
        }
    }

    /// Gives a new cluster its identity; the same one if the first start was cut short.
    private static func identify(_ log: RaftLog, _ host: SingleNodeHost) async throws {
        if host.state.topologyID != nil { return }
        var system = SystemRandomNumberGenerator()
        let cluster = log.clusterID ?? ClusterID(using: &system)
        try log.setClusterID(cluster)
        _ = try await host.propose(.setTopologyID(cluster.description))
    }

    private static func report(
        _ core: MasterCore, _ host: SingleNodeHost, node: String, isNew: Bool, seconds: Duration
    ) -> [String] {
        let milliseconds = Int(seconds / .milliseconds(1))
        let state = host.state
        var lines = [
            isNew
                ? "new cluster \(core.topologyID): this master \(node) (\(core.advertised)) is its "
                    + "only member"
                : "resuming cluster \(core.topologyID) as \(node) (\(core.advertised))"
        ]
        lines.append(
            "recovered \(host.appliedIndex) log entries in \(milliseconds) ms: largest volume id "
                + "\(state.maxVolumeID), file keys from \(state.keyCeiling) on are free")
        return lines
    }

    private func startPeriodicWork() {
        let tick = every(seconds: MasterService.tickSeconds) { $0.tick(now: .now) }
        let empty = every(seconds: MasterService.emptyVolumeSeconds) {
            await $0.deleteEmptyVolumes(now: .now)
        }
        var started = [tick, empty]
        let configuration = core.configuration
        if configuration.vacuumIntervalSeconds > 0 {
            started.append(
                every(seconds: configuration.vacuumIntervalSeconds) {
                    await $0.vacuum(
                        VacuumWish(threshold: configuration.garbageThreshold, isAutomatic: true))
                })
        }
        tasks.withLock { $0 = started }
    }

    private func every(
        seconds: Int, _ body: @escaping @Sendable (MasterCore) async -> Void
    ) -> Task<Void, Never> {
        Task { [core] in
            while (try? await Task.sleep(for: .seconds(seconds))) != nil { await body(core) }
        }
    }
}

extension MasterCore {
    /// The ports are known now; `grpcPort` 0 is the usual one.
    func bound(port: Int, grpcPort: Int) {
        address.withLock {
            $0.port = port
            $0.grpcPort = grpcPort > 0 ? grpcPort : port + PeerAddress.grpcOffset
        }
    }
}
