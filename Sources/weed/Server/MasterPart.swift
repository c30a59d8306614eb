import HTTPServer
import Logging
import Master
import NIOCore
import RPC

/// A master inside a process: its HTTP server, its gRPC service, its state.
struct MasterPart: Sendable {
    /// The master.
    let service: MasterService
    private let settings: MasterSettings
    private let process: ProcessSettings

    /// Starts it; returns when it answers.
    static func start(
        _ settings: MasterSettings, _ process: ProcessSettings, _ context: ServerProcess.Context,
        flag: String
    ) async throws(CommandFailure) -> MasterPart {
        do {
            let service = try await MasterService.start(
                MasterConfiguration(settings, process), group: context.group,
                remoteGroup: context.group,
                logger: context.logger)
            return MasterPart(service: service, settings: settings, process: process)
        } catch {
            throw StartFailure.make(error, bind: process.bind, port: settings.ports.http, flag)
        }
    }

    /// The ports it listens on.
    var ports: StartFacts.Ports {
        StartFacts.Ports(
            http: service.port, grpc: service.grpcPort ?? service.port + PeerAddress.grpcOffset)
    }

    /// Where volume servers of this process find it.
    var address: MasterList.Master {
        let host = process.address.host
        let bracketed = host.contains(":") ? "[\(host)]" : host
        return MasterList.Master(
            http: "\(bracketed):\(ports.http)", grpcPort: ports.grpc)
    }

    /// Stops it: no more file ids are given out.
    func stop() async {
        await service.shutdown(grace: .seconds(ServerProcess.graceSeconds))
    }
}

extension MasterConfiguration {
    /// What a master was told.
    init(_ settings: MasterSettings, _ process: ProcessSettings) {
        self.init(directory: settings.directory)
        host = process.bind
        port = settings.ports.http
        advertisedHost = process.address.host
        grpcPort = settings.ports.grpc
        volumeSizeLimitMB = settings.volumeSizeLimit >> 20
        defaultReplication = settings.defaultReplication
        garbageThreshold = settings.garbageThreshold
        vacuumIntervalSeconds = settings.vacuumIntervalSeconds
        whiteList = process.whiteList
        isInsecure = process.isInsecure
        disableHTTP = settings.isHTTPDisabled
        version = Version.text
    }
}
