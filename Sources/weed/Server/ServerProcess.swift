import Dispatch
import Glibc
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
import Synchronization

/// The process of `weed server`: starts everything, says so, waits for a signal, stops everything.
struct ServerProcess {
    /// What to run.
    let configuration: ServerConfiguration

    /// Seconds that requests under way may take to finish once a stop was asked for.
    static let graceSeconds: Int64 = 25

    /// A process for a configuration.
    init(_ configuration: ServerConfiguration) {
        self.configuration = configuration
    }

    /// Runs until a signal; returns after a graceful stop.
    func runUntilStopped() throws(CommandFailure) {
        let signals = StopSignals()
        let done = DispatchSemaphore(value: 0)
        let outcome = Mutex<CommandFailure?>(nil)
        Task { [self] in
            do {
                try await run(signals)
            } catch let failure as CommandFailure {
                outcome.withLock { $0 = failure }
            } catch {
                outcome.withLock { $0 = CommandFailure("\(error)") }
            }
            done.signal()
        }
        done.wait()
        if let failure = outcome.withLock({ $0 }) { throw failure }
    }

    private func run(_ signals: StopSignals) async throws {
        let logger = Logger(label: "weed")
        let group = MultiThreadedEventLoopGroup(numberOfThreads: configuration.threads)
        let began = ContinuousClock.now
        let machine: SingleMachine
        do {
            machine = try await SingleMachine.start(configuration, group: group, logger: logger)
        } catch {
            try? await group.shutdownGracefully()
            throw error
        }
        let took = ContinuousClock.now - began
        for line in StartReport(configuration, machine.facts, took: took).lines {
            Terminal.error(line)
        }
        // Stopped in the reverse order: the master first, so that nothing new is handed out while
        // uploads under way finish.
        let services = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [
                    .init(service: StoppablePart { await machine.stopVolumeServer() }),
                    .init(service: StoppablePart { await machine.stopMaster() }),
                ], logger: Logger(label: "weed.lifecycle") { _ in SwiftLogNoOpLogHandler() }))
        signals.onFirst { received in
            Terminal.error(
                "weed: \(received == SIGINT ? "interrupted" : "asked to stop"): finishing requests under "
                    + "way, at most \(ServerProcess.graceSeconds) s; once more ends it at once")
            Task { await services.triggerGracefulShutdown() }
        }
        try await services.run()
        try await group.shutdownGracefully()
        Terminal.error("weed: stopped; everything answered is on disk")
    }
}

/// Something that runs by itself until it is asked to stop.
private struct StoppablePart: Service {
    let stop: @Sendable () async -> Void

    init(stop: @escaping @Sendable () async -> Void) { self.stop = stop }

    func run() async throws {
        try await gracefulShutdown()
        await stop()
    }
}
