import Glibc
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle

/// The process of a server: starts everything, says so, waits for a signal, stops everything.
struct ServerProcess: Sendable {
    /// What the parts of a server are started with.
    struct Context: Sendable {
        /// Event loops.
        let group: MultiThreadedEventLoopGroup
        /// Where to log.
        let logger: Logger
    }

    /// A server that runs.
    struct Running: Sendable {
        /// What to wait for before it is called ready; a stop is possible meanwhile.
        var settle: @Sendable () async -> Void = {}
        /// What to say of a start that took so long, one line each.
        let report: @Sendable (Duration) -> [String]
        /// What stops it, in this order.
        let stops: [@Sendable () async -> Void]
    }

    /// Seconds that requests under way may take to finish once a stop was asked for.
    static let graceSeconds: Int64 = 25

    private let threads: Int
    private let start: @Sendable (Context) async throws -> Running

    /// A process with so many event loops that runs what `start` starts.
    init(threads: Int, start: @escaping @Sendable (Context) async throws -> Running) {
        self.threads = threads
        self.start = start
    }

    /// Runs until a signal; returns after a graceful stop.
    func runUntilStopped() throws(CommandFailure) {
        let signals = StopSignals()
        try Work.run { () async throws(CommandFailure) in
            do {
                try await run(signals)
            } catch let failure as CommandFailure {
                throw failure
            } catch {
                throw CommandFailure("\(error)")
            }
        }
    }

    private func run(_ signals: StopSignals) async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: threads)
        let began = ContinuousClock.now
        let running: Running
        do {
            running = try await start(Context(group: group, logger: Logger(label: "weed")))
        } catch {
            try? await group.shutdownGracefully()
            throw error
        }
        let (started, starting) = AsyncStream.makeStream(of: Void.self)
        // services are stopped in the reverse order of this list
        let services = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: running.stops.reversed().map { stop in
                    .init(service: StoppablePart(starting: starting, stop: stop))
                }, logger: Logger(label: "weed.lifecycle") { _ in SwiftLogNoOpLogHandler() }))
        signals.onFirst { received in
            Terminal.error(
                "weed: \(received == SIGINT ? "interrupted" : "asked to stop"): finishing requests under "
                    + "way, at most \(ServerProcess.graceSeconds) s; once more ends it at once")
            Task {
                // a stop that comes before the group runs would be lost
                for await _ in started {}
                await services.triggerGracefulShutdown()
            }
        }
        async let ended: Void = services.run()
        await running.settle()
        for line in running.report(ContinuousClock.now - began) { Terminal.error(line) }
        try await ended
        // the event loops end with the process: connections of peers may still have timers on them
        Terminal.error("weed: stopped; everything answered is on disk")
    }
}

/// Something that runs by itself until it is asked to stop.
private struct StoppablePart: Service {
    let starting: AsyncStream<Void>.Continuation
    let stop: @Sendable () async -> Void

    init(
        starting: AsyncStream<Void>.Continuation, stop: @escaping @Sendable () async -> Void
    ) {
        self.starting = starting
        self.stop = stop
    }

    func run() async throws {
        starting.finish()
        try await gracefulShutdown()
        await stop()
    }
}
