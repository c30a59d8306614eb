import HTTPServer
import Logging
import Master
import NIOCore
import Volume

/// What the three server commands run: a master, a volume server, or both in one process.
enum ComposedServer {
    /// How long a start waits for the volume server to join its master.
    static let joinTime = Duration.seconds(5)

    /// Starts what `weed master` is.
    static func start(
        _ settings: MasterSettings, _ process: ProcessSettings, _ context: ServerProcess.Context
    ) async throws(CommandFailure) -> ServerProcess.Running {
        let master = try await MasterPart.start(settings, process, context, flag: "port")
        let facts = StartFacts(process: process, master: (settings, master.ports))
        return ServerProcess.Running(
            report: { StartReport(facts, took: $0).lines }, stops: [{ await master.stop() }])
    }

    /// Starts what `weed server` is.
    static func start(
        _ configuration: ServerConfiguration, _ context: ServerProcess.Context
    ) async throws(CommandFailure) -> ServerProcess.Running {
        let process = configuration.process
        let master = try await MasterPart.start(
            configuration.master, process, context, flag: "master.port")
        let volume: VolumePart
        do throws(CommandFailure) {
            var settings = configuration.volume
            settings.masters = MasterList(masters: [master.address])
            volume = try await VolumePart.start(
                settings, process, context, prefix: "volume.",
                volumeSizeLimit: configuration.master.volumeSizeLimit)
        } catch {
            await master.stop()
            throw error
        }
        var facts = volume.facts(process)
        facts.master = (configuration.master, master.ports)
        // the master before the volume server, so that nothing new is given out while uploads under way
        // finish; it waits for streams, so the volume server ends its own first
        return ServerProcess.Running(
            settle: {
                // so that the first request after the ready line finds a volume server
                if await !volume.joined(within: ComposedServer.joinTime) {
                    context.logger.warning(
                        "the volume server has not joined its master yet",
                        metadata: ["seconds": "\(ComposedServer.joinTime)"])
                }
            },
            report: { [facts] in StartReport(facts, took: $0).lines },
            stops: [{ await volume.leave() }, { await master.stop() }, { await volume.stop() }])
    }
}

extension ComposedServer {
    /// Starts what `weed volume` is.
    static func start(
        _ settings: VolumeSettings, _ process: ProcessSettings, _ context: ServerProcess.Context
    ) async throws(CommandFailure) -> ServerProcess.Running {
        let volume = try await VolumePart.start(settings, process, context, prefix: "")
        let facts = volume.facts(process)
        return ServerProcess.Running(
            report: { StartReport(facts, took: $0).lines }, stops: [{ await volume.stop() }])
    }
}
