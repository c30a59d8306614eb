import HTTPClient
import HTTPServer
public import Logging
import Model
public import NIOCore
import NIOPosix
public import Needles
import Synchronization
public import Wire

/// A volume server: the HTTP front of a ``Needles/VolumeStore``, and its reports to the master.
///
/// One instance answers on every event loop of the group it was started with. What may wait for the
/// disk runs on threads of its own, never on an event loop and never on the cooperative pool.
public final class VolumeService: Sendable {
    /// What the server was told at start.
    public let configuration: VolumeConfiguration
    /// The volumes.
    public let store: VolumeStore
    /// Threads that may wait for the disk for reads and uploads.
    let diskPool: NIOThreadPool
    /// Threads for creating, deleting and compacting volumes, which may take minutes.
    let adminPool: NIOThreadPool
    /// The event loops that requests run on.
    let loops: any EventLoopGroup
    /// The master, when there is one.
    let master: (any MasterPeer)?
    /// What keeps copies on other servers equal.
    let copies: Copies
    let logger: Logger
    let access: AccessRules
    let writeTokens: TokenRules
    let readTokens: TokenRules
    let budget: MemoryBudget
    let counters = Counters()
    /// The value of the `Server` header.
    let serverHeader: String
    /// What reads need.
    let reads: ReadContext
    let state = Mutex(RunState())

    /// What changes while the service runs.
    struct RunState {
        var address = ""
        var server: HTTPServer?
        var publicServer: HTTPServer?
        var reporter: Reporter?
        var mender: Mender?
        var isStopping = false
        var topologyID: String?
        var volumeSizeLimit: UInt64 = 0
        var masters: [String] = []
    }

    /// Opens the store, binds, and begins to report to `master`.
    ///
    /// Returns when requests are being answered. Throws ``Needles/NeedleError`` when a directory
    /// cannot be used, a ``VolumeServiceError`` for a bad white list, and what the server throws
    /// when the port is taken.
    public static func start(
        _ configuration: VolumeConfiguration, group: any EventLoopGroup, master: (any MasterPeer)?,
        logger: Logger
    ) async throws -> VolumeService {
        let access = try AccessRules(configuration)
        let diskPool = NIOThreadPool(numberOfThreads: max(1, configuration.diskThreads))
        let adminPool = NIOThreadPool(numberOfThreads: VolumeService.adminThreads)
        diskPool.start()
        adminPool.start()
        do {
            let store = try await adminPool.runIfActive {
                try VolumeStore(configuration.store, logger: logger)
            }
            let copies: Copies
            do {
                copies = try await adminPool.runIfActive {
                    try Copies(
                        directory: configuration.store.directories[0].path,
                        disk: configuration.store.disk, group: group, pool: adminPool,
                        master: master, logger: logger)
                }
            } catch {
                try? await adminPool.runIfActive { store.close() }
                throw error
            }
            let service = VolumeService(
                configuration, store: store, diskPool: diskPool, adminPool: adminPool,
                loops: group, master: master, copies: copies, access: access, logger: logger)
            do {
                try await service.bind(group: group)
            } catch {
                try? await adminPool.runIfActive { store.close() }
                throw error
            }
            service.beginReports(on: group.next())
            service.beginMending()
            return service
        } catch {
            try? await diskPool.shutdownGracefully()
            try? await adminPool.shutdownGracefully()
            throw error
        }
    }

    /// Threads for creating, deleting and compacting volumes.
    static let adminThreads = 4

    private init(
        _ configuration: VolumeConfiguration, store: VolumeStore, diskPool: NIOThreadPool,
        adminPool: NIOThreadPool, loops: any EventLoopGroup, master: (any MasterPeer)?,
        copies: Copies, access: AccessRules, logger: Logger
    ) {
        self.configuration = configuration
        self.store = store
        self.diskPool = diskPool
        self.adminPool = adminPool
        self.loops = loops
        self.master = master
        self.copies = copies
        self.access = access
        self.logger = logger
        writeTokens = TokenRules(key: configuration.signingKey)
        readTokens = TokenRules(key: configuration.readSigningKey)
        budget = MemoryBudget()
        serverHeader = "SeaweedFS Volume \(configuration.version)"
        let elsewhere = ElsewhereReader(
            copies: copies, tokens: readTokens, pool: diskPool)
        reads = ReadContext(
            store: store, pool: diskPool,
            readMode: ReadMode(rawValue: configuration.readMode.rawValue) ?? .local,
            serverHeader: serverHeader, holders: master == nil ? nil : copies.holders,
            logger: logger,
            chunks: LocalChunkFetcher(
                store: store, pool: diskPool, remote: master == nil ? nil : elsewhere),
            forwarder: elsewhere)
    }

    private func bind(group: any EventLoopGroup) async throws {
        let server = try await HTTPServer.start(
            host: configuration.bindHost, port: configuration.port, group: group,
            limits: configuration.limits, logger: logger, handler: VolumeRoutes(service: self))
        state.withLock {
            $0.server = server
            $0.address = "\(configuration.ip):\(server.port)"
        }
        copies.setAddress(url)
        guard let publicPort = configuration.publicPort, publicPort != server.port else { return }
        do {
            let server = try await HTTPServer.start(
                host: configuration.bindHost, port: publicPort, group: group,
                limits: configuration.limits, logger: logger,
                handler: PublicRoutes(routes: VolumeRoutes(service: self)))
            state.withLock { $0.publicServer = server }
        } catch {
            await server.shutdown(grace: .zero)
            throw error
        }
    }

    /// Stops: answers 503 to health checks, tells the master, lets requests under way finish for
    /// at most `grace`, and closes the store.
    ///
    /// Calling it twice does no harm.
    public func shutdown(grace: TimeAmount) async {
        let parts = state.withLock { state -> RunState? in
            guard !state.isStopping else { return nil }
            state.isStopping = true
            return state
        }
        guard let parts else { return }
        parts.reporter?.stop()
        parts.mender?.cancel()
        await master?.disconnected(store.serverID)
        await parts.publicServer?.shutdown(grace: grace)
        await parts.server?.shutdown(grace: grace)
        copies.client.shutdown()
        await parts.mender?.finish()
        state.withLock { $0.mender = nil }
        let store = store
        do {
            try await diskPool.shutdownGracefully()
            try await adminPool.runIfActive { store.close() }
            try await adminPool.shutdownGracefully()
        } catch {
            logger.error("stopping the disk threads failed: \(error)")
        }
    }

    /// The port requests are answered on.
    public var port: Int { state.withLock { $0.server?.port } ?? configuration.port }

    /// `host:port` as peers reach this server.
    public var url: String { state.withLock { $0.address } }

    /// `host:port` as clients reach this server.
    public var publicURL: String {
        guard configuration.publicURL.isEmpty else { return configuration.publicURL }
        guard let port = state.withLock({ $0.publicServer?.port }) else { return url }
        return "\(configuration.ip):\(port)"
    }

    /// Whether the server is going down.
    var isStopping: Bool { state.withLock { $0.isStopping } }

}

/// Why a volume server cannot start; faults of the store and of the port have errors of their own.
public enum VolumeServiceError: Error, Sendable, Equatable, CustomStringConvertible {
    /// An entry of the white list is neither an address nor a network.
    case whiteList(String)

    /// What is wrong, and how to write it.
    public var description: String {
        switch self {
        case .whiteList(let entry):
            "white list entry \"\(entry)\" is no address: write 10.1.2.3, 10.0.0.0/8 or fd00::/8"
        }
    }
}
