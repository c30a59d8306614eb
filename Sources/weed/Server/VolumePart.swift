import Glibc
import HTTPServer
import Logging
import NIOCore
import NIOPosix
import Needles
import RPC
import Volume
import Wire

/// A volume server inside a process: its HTTP server, its gRPC service, its volumes.
struct VolumePart: Sendable {
    /// The volume server.
    let service: VolumeService
    /// Seconds that recovery of the volumes took.
    let recoverySeconds: Double
    private let settings: VolumeSettings
    private let link: MasterLink
    private let remote: RPCServer
    private let channels: PeerChannels

    /// Most lines about recovery that a start prints; all of them are in the log.
    static let recoveryLineLimit = 10

    /// Starts it; returns when it answers.
    static func start(
        _ settings: VolumeSettings, _ process: ProcessSettings, _ context: ServerProcess.Context,
        prefix: String, volumeSizeLimit: UInt64? = nil
    ) async throws(CommandFailure) -> VolumePart {
        let began = ContinuousClock.now
        let channels = PeerChannels(group: context.group)
        let link = try makeLink(settings, channels, context.logger)
        do {
            var configuration = VolumeConfiguration(settings, process)
            if let volumeSizeLimit { configuration.store.volumeSizeLimit = volumeSizeLimit }
            let service = try await VolumeService.start(
                configuration, group: context.group, master: link, logger: context.logger)
            let recoverySeconds = (ContinuousClock.now - began) / .seconds(1)
            for line in service.store.startReport.dropFirst() { context.logger.debug("\(line)") }
            let remote = try await serve(service, link, channels, settings, process, context)
            link.open(grpcPort: remote.port)
            service.reportSoon()
            return VolumePart(
                service: service, recoverySeconds: recoverySeconds, settings: settings, link: link,
                remote: remote, channels: channels)
        } catch {
            await channels.close()
            throw StartFailure.make(
                error, bind: process.bind, port: settings.ports.http, "\(prefix)port")
        }
    }

    private static func makeLink(
        _ settings: VolumeSettings, _ channels: PeerChannels, _ logger: Logger
    ) throws(CommandFailure) -> MasterLink {
        let file = ClusterFile(directories: settings.directories.map(\.path), logger: logger)
        var heartbeat = HeartbeatConfiguration(
            masters: settings.masters.masters.compactMap { PeerAddress($0.long) },
            memory: try file.load(), remember: { file.save($0) })
        heartbeat.id = settings.id ?? ""
        return MasterLink(RemoteMaster(heartbeat, channels: channels, logger: logger))
    }

    /// Answers gRPC; on a failure nothing runs any more.
    private static func serve(
        _ service: VolumeService, _ link: MasterLink, _ channels: PeerChannels,
        _ settings: VolumeSettings, _ process: ProcessSettings, _ context: ServerProcess.Context
    ) async throws -> RPCServer {
        // a free port for one means a free port for the other
        let usual = settings.ports.http == 0 ? 0 : service.port + PeerAddress.grpcOffset
        let url = service.url
        let rpc = VolumeRPCService(service: service, channels: channels) { mark in
            try await link.mark(mark.volume, isReadOnly: mark.isReadOnly, at: url)
        }
        do {
            return try await RPCServer.start(
                host: process.bind, port: settings.ports.grpc > 0 ? settings.ports.grpc : usual,
                services: [rpc], group: context.group, logger: context.logger)
        } catch {
            await service.shutdown(grace: .zero)
            throw error
        }
    }

    /// What there is to say of its start.
    func facts(_ process: ProcessSettings) -> StartFacts {
        StartFacts(
            process: process, volume: (settings, .init(http: service.port, grpc: remote.port)),
            recoverySeconds: recoverySeconds,
            volumeCount: service.store.volumes.count, recoveryLines: recoveryLines)
    }

    private var recoveryLines: [String] {
        let found = service.store.startReport.dropFirst()
        var lines = Array(found.prefix(VolumePart.recoveryLineLimit))
        if found.count > lines.count {
            lines.append("and \(found.count - lines.count) lines more in the log with -v=1")
        }
        return lines
    }

    /// Waits until a master takes its reports, at most so long.
    func joined(within limit: Duration) async -> Bool { await link.joined(within: limit) }

    /// Leaves the cluster, and goes on serving.
    func leave() async { _ = await link.leave() }

    /// Stops it: it leaves the cluster and goes on serving for a while, then requests under way finish
    /// and indexes are checkpointed.
    func stop() async {
        let wasMember = await link.leave()
        if wasMember, settings.preStopSeconds > 0 {
            Terminal.error(
                "weed: left the cluster; serving \(settings.preStopSeconds) s more (-preStopSeconds)"
            )
            try? await Task.sleep(for: .seconds(settings.preStopSeconds))
        }
        await remote.shutdown(grace: .seconds(ServerProcess.graceSeconds))
        await service.shutdown(grace: .seconds(ServerProcess.graceSeconds))
        await channels.close()
    }
}

extension VolumeConfiguration {
    /// What a volume server was told.
    init(_ settings: VolumeSettings, _ process: ProcessSettings) {
        var store = StoreConfiguration(
            directories: settings.directories.map {
                .init(
                    path: $0.path, maxVolumes: $0.maxVolumes,
                    diskType: DiskTypeName.inner($0.diskType),
                    indexPath: settings.indexDirectory)
            })
        store.sync = SyncMode(settings.sync)
        store.freeSpaceFloor = FreeSpaceFloor(settings.minFreeSpace)
        store.compactionBytesPerSecond = settings.compactionBytesPerSecond
        self.init(store: store)
        bindHost = process.bind
        port = settings.ports.http
        publicPort = settings.ports.readOnly == 0 ? nil : settings.ports.readOnly
        ip = process.address.host
        publicURL = settings.publicURL ?? ""
        grpcPort = settings.ports.grpc
        dataCenter = settings.dataCenter
        rack = settings.rack
        fileSizeLimit = settings.fileSizeLimit
        readMode = MissingVolumeMode(settings.readMode)
        whiteList = process.whiteList
        isInsecure = process.isInsecure
        masters = settings.masters.addresses
        limits.idleSeconds = process.idleSeconds
        version = Version.text
    }
}

extension SyncMode {
    fileprivate init(_ choice: SyncChoice) {
        switch choice {
        case .always: self = .always
        case .interval(let milliseconds): self = .interval(milliseconds: milliseconds)
        case .none: self = .none
        }
    }
}

extension FreeSpaceFloor {
    fileprivate init(_ choice: FreeSpaceChoice) {
        switch choice {
        case .percent(let percent): self = .percent(percent)
        case .bytes(let bytes): self = .bytes(bytes)
        }
    }
}

extension MissingVolumeMode {
    fileprivate init(_ choice: ReadModeChoice) {
        switch choice {
        case .local: self = .local
        case .proxy: self = .proxy
        case .redirect: self = .redirect
        }
    }
}
