import Glibc
import HTTPServer
import Logging
import Master
import NIOCore
import Needles
import Volume

/// A master and a volume server that talk inside this process.
struct SingleMachine: Sendable {
    /// What the start found.
    let facts: StartFacts
    private let master: MasterService
    private let volume: VolumeService

    /// Most lines about recovery that a start prints; all of them are in the log.
    static let recoveryLineLimit = 10

    /// Starts both; returns when both answer.
    static func start(
        _ configuration: ServerConfiguration, group: any EventLoopGroup, logger: Logger
    ) async throws(CommandFailure) -> SingleMachine {
        let master: MasterService
        do {
            master = try await MasterService.start(
                MasterConfiguration(configuration), group: group, logger: logger)
        } catch {
            throw failure(error, listening: configuration, configuration.masterPorts.http, "master")
        }
        let began = ContinuousClock.now
        let volume: VolumeService
        do {
            volume = try await VolumeService.start(
                VolumeConfiguration(configuration, masterPort: master.port), group: group,
                master: master.peer, logger: logger)
        } catch {
            await master.shutdown(grace: .zero)
            throw failure(error, listening: configuration, configuration.volumePorts.http, "volume")
        }
        return SingleMachine(
            facts: facts(master, volume, took: ContinuousClock.now - began, logger), master: master,
            volume: volume)
    }

    /// Stops the master: no more file ids are handed out.
    func stopMaster() async {
        await master.shutdown(grace: .seconds(Int64(ServerProcess.graceSeconds)))
    }

    /// Stops the volume server: requests under way finish, indexes are checkpointed.
    func stopVolumeServer() async {
        await volume.shutdown(grace: .seconds(Int64(ServerProcess.graceSeconds)))
    }

    private static func facts(
        _ master: MasterService, _ volume: VolumeService, took: Duration, _ logger: Logger
    ) -> StartFacts {
        let found = volume.store.startReport.dropFirst()
        var lines = Array(found.prefix(recoveryLineLimit))
        if found.count > lines.count {
            lines.append("and \(found.count - lines.count) lines more in the log with -v=1")
        }
        for line in found { logger.debug("\(line)") }
        return StartFacts(
            masterPort: master.port, volumePort: volume.port,
            recoverySeconds: took / .seconds(1), volumeCount: volume.store.volumes.count,
            recoveryLines: lines)
    }

    /// One line that says what to do about a failed start.
    private static func failure(
        _ error: any Error, listening configuration: ServerConfiguration, _ port: Int,
        _ flag: String
    ) -> CommandFailure {
        switch error {
        case let error as NeedleError: return CommandFailure(error)
        case let error as MasterError: return .state(error.description)
        case let error as VolumeServiceError: return .state(error.description)
        case let error as IOError:
            let place = "\(configuration.bind):\(port)"
            let reason = unsafe String(cString: strerror(error.errnoCode))
            let hint =
                switch error.errnoCode {
                case EADDRINUSE: "stop what uses it, or choose another with -\(flag).port"
                case EACCES: "ports below 1024 need root; choose another with -\(flag).port"
                default: "-ip.bind must be an address of this machine"
                }
            return .state("cannot listen on \(place): \(reason); \(hint)")
        default: return CommandFailure("\(error)")
        }
    }
}

extension MasterConfiguration {
    /// What the master of `weed server` is told.
    init(_ server: ServerConfiguration) {
        self.init(directory: server.masterDirectory)
        host = server.bind
        port = server.masterPorts.http
        advertisedHost = server.address.host
        grpcPort = server.masterPorts.grpc
        volumeSizeLimitMB = server.volumeSizeLimit >> 20
        defaultReplication = server.defaultReplication
        garbageThreshold = server.garbageThreshold
        whiteList = server.whiteList
        isInsecure = server.isInsecure
        disableHTTP = server.isHTTPDisabled
        version = Version.text
    }
}

extension VolumeConfiguration {
    /// What the volume server of `weed server` is told.
    init(_ server: ServerConfiguration, masterPort: Int) {
        var store = StoreConfiguration(
            directories: server.directories.map {
                .init(
                    path: $0.path, maxVolumes: $0.maxVolumes, diskType: $0.diskType,
                    indexPath: server.indexDirectory)
            })
        store.sync = SyncMode(server.sync)
        store.compactionBytesPerSecond = server.compactionBytesPerSecond
        store.volumeSizeLimit = server.volumeSizeLimit
        self.init(store: store)
        bindHost = server.bind
        port = server.volumePorts.http
        publicPort = server.volumePorts.readOnly == 0 ? nil : server.volumePorts.readOnly
        ip = server.address.host
        publicURL = server.publicURL ?? ""
        grpcPort = server.volumePorts.grpc
        dataCenter = server.dataCenter
        rack = server.rack
        fileSizeLimit = server.fileSizeLimit
        readMode = MissingVolumeMode(server.readMode)
        whiteList = server.whiteList
        isInsecure = server.isInsecure
        masters = ["\(server.address.host):\(masterPort)"]
        limits.idleSeconds = server.idleSeconds
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

extension MissingVolumeMode {
    fileprivate init(_ choice: ReadModeChoice) {
        switch choice {
        case .local: self = .local
        case .proxy: self = .proxy
        case .redirect: self = .redirect
        }
    }
}
