import HTTPServer
public import Logging
public import NIOCore
import Model
import RaftLog
import Synchronization
public import Wire

/// A running master server.
public final class MasterService: Sendable {
    /// Seconds between two looks at growth.
    private static let tickSeconds = 5

    private let core: MasterCore
    private let host: SingleNodeHost
    private let durable: LogState
    private let server: HTTPServer
    private let tasks = Mutex<[Task<Void, Never>]>([])
    /// What was found at start, one line each: identity, what was recovered, how long it took.
    public let startReport: [String]

    private init(
        core: MasterCore, host: SingleNodeHost, durable: LogState, server: HTTPServer,
        startReport: [String]
    ) {
        self.core = core
        self.host = host
        self.durable = durable
        self.server = server
        self.startReport = startReport
    }

    /// Recovers the state in the configuration's directory, reserves needle keys, and serves.
    ///
    /// Throws ``MasterError`` when the directory is in use by another process, cannot be made, or
    /// holds what cannot be read, and what binding the port throws.
    public static func start(
        _ configuration: MasterConfiguration, group: any EventLoopGroup, logger: Logger
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
            core.bound(port: server.port)
            let service = MasterService(
                core: core, host: host, durable: durable, server: server,
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

    /// The port bound.
    public var port: Int { server.port }

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
        await server.shutdown(grace: grace)
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
        var started = [tick]
        let configuration = core.configuration
        if configuration.vacuumIntervalSeconds > 0 {
            started.append(
                every(seconds: configuration.vacuumIntervalSeconds) {
                    await $0.vacuum(threshold: configuration.garbageThreshold, isAutomatic: true)
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
    /// The port is known now.
    func bound(port: Int) {
        address.withLock {
            $0.port = port
            if $0.grpcPort == 0 { $0.grpcPort = port + 10_000 }
        }
    }
}
