import Logging
import Model
import Platform
import Synchronization

/// What the answers of a master are made from; behind one lock that is held for short steps only.
struct MasterShared {
    var topology: Topology
    var keys = KeyWindows()
    /// The first key in no window, as far as known here.
    var keyCeiling: UInt64 = 1
    var picks: SeededGenerator
    var cookies = CookieSource()
    /// Volumes being made, by layout: at most one such growth each.
    var growths: [LayoutKey: GrowthInFlight] = [:]
    /// Volumes whose largest key was too large to count; each is named in the log once.
    var oddKeys: Set<VolumeID> = []
    /// Servers whose largest key was too large to count.
    var oddKeyServers: Set<String> = []
    /// Volumes whose id was too far above the others to count.
    var oddVolumes: Set<VolumeID> = []
    var warmUp: WarmUp
    /// Failures of vacuum by volume, for its back-off.
    var vacuumFailures: [VolumeID: VacuumFailure] = [:]
    /// Vacuum does nothing by itself.
    var isVacuumDisabled = false
    /// Since when volumes with a time to live have been empty.
    var emptySince: [VolumeID: ContinuousClock.Instant] = [:]
    /// Volumes of growths that failed; a copy that shows up later is deleted.
    var abandoned: Set<VolumeID> = []
    var watchers = Watchers()
    /// New lock rings are told soon.
    var isRingScheduled = false
    /// Streams of volume servers and watchers that are open.
    var openStreams = 0
    /// The number of the last stream of a volume server.
    var lastConnection = ServerLink.inProcess
    var adminLocks = AdminLocks()
    var assigned: UInt64 = 0
    var lookedUp: UInt64 = 0
}

/// The master without its network side.
final class MasterCore: Sendable {
    let configuration: MasterConfiguration
    let proposer: any Proposer
    let logger: Logger
    let topologyID: String
    let shared: Mutex<MasterShared>
    /// `host:port` as others reach this master; known once the port is bound.
    let address: Mutex<(host: String, port: Int, grpcPort: Int)>
    /// Remembers which servers were connected, for the next start.
    let hints: ServerHints?

    init(
        configuration: MasterConfiguration, state: MasterState, proposer: any Proposer,
        hints: ServerHints? = nil, logger: Logger
    ) {
        self.configuration = configuration
        self.proposer = proposer
        self.logger = logger
        self.hints = hints
        topologyID = state.topologyID ?? ""
        let topology = Topology(
            volumeSizeLimit: configuration.volumeSizeLimit, acceptedVolumeID: state.maxVolumeID)
        var system = SystemRandomNumberGenerator()
        shared = Mutex(
            MasterShared(
                topology: topology, keyCeiling: state.keyCeiling,
                picks: SeededGenerator(seed: configuration.seed ?? system.next()),
                warmUp: WarmUp(
                    seconds: state.maxVolumeID > 0 ? configuration.warmUpSeconds : 0,
                    awaited: hints?.recovered, now: .now)))
        address = Mutex(
            (configuration.advertisedHost, configuration.port, configuration.grpcPort))
    }

    /// `host:port` of this master.
    var advertised: String {
        address.withLock { "\(MasterCore.bracketed($0.host)):\($0.port)" }
    }

    /// An IPv6 address in brackets, as it stands in front of a port.
    static func bracketed(_ host: String) -> String {
        host.contains(":") && !host.hasPrefix("[") ? "[\(host)]" : host
    }

    /// Streams of volume servers and watchers at once; whoever opens more is refused.
    static let streamLimit = 20_000

    /// Counts a stream in.
    ///
    /// Returns whether there is room for it; then ``closeStream()`` counts it out.
    func openStream() -> Bool {
        shared.withLock { shared in
            guard shared.openStreams < MasterCore.streamLimit else { return false }
            shared.openStreams += 1
            return true
        }
    }

    /// Counts a stream out.
    func closeStream() { shared.withLock { $0.openStreams -= 1 } }

    /// A number for a new stream of a volume server.
    func nextConnection() -> ConnectionID {
        shared.withLock { shared in
            shared.lastConnection += 1
            return shared.lastConnection
        }
    }

    /// Changes what is known, and tells the watchers where volumes came and went.
    ///
    /// They are told while the lock is held, so that all hear it in the order it happened.
    func change<T>(_ body: (inout MasterShared) throws(Never) -> sending T) -> sending T {
        shared.withLock { shared in
            let result = body(&shared)
            let changes = shared.topology.changes.take()
            if !changes.isEmpty { shared.watchers.tell(changes) }
            return result
        }
    }

    /// What is known of servers and volumes now.
    ///
    /// A copy, so that writing all of it as text does not hold the lock.
    var topology: Topology { shared.withLock { $0.topology } }

    // MARK: Needle keys

    /// Reserves the first window; assigns are answered after that.
    func start() async throws(ProposalError) {
        _ = shared.withLock { $0.keys.startRefill() }
        try await fetchKeys()
    }

    /// Fetches a window in the background.
    func refillKeys() {
        Task {
            do {
                try await fetchKeys()
            } catch {
                logger.error("no needle keys could be reserved", metadata: ["error": "\(error)"])
            }
        }
    }

    private func fetchKeys() async throws(ProposalError) {
        let count = shared.withLock { $0.keys.refillCount(now: .now) }
        do {
            let window = try await reserveKeys(count)
            shared.withLock { $0.keys.finishRefill(window) }
        } catch {
            shared.withLock { $0.keys.finishRefill(nil) }
            throw error
        }
    }

    /// Takes keys from the log, past the windows.
    func reserveKeys(_ count: UInt64) async throws(ProposalError) -> Range<NeedleKey> {
        switch try await proposer.propose(.reserveKeys(count: count)) {
        case .keys(let window):
            shared.withLock { $0.keyCeiling = max($0.keyCeiling, window.upperBound) }
            return window
        case .refused(let refusal): throw .storage("\(refusal)")
        default: throw .storage("the log answered a reservation of keys with something else")
        }
    }

    // MARK: Periodic work

    /// Looks whether layouts need volumes ahead of time; called every few seconds.
    func tick(now: ContinuousClock.Instant) {
        let (wanting, isLate) = shared.withLock { shared in
            let isLate = shared.warmUp.expire(now: now)
            return (shared.layoutsWanting(now: now), isLate)
        }
        if isLate {
            logger.warning("volume servers known from the last run have not come back in time")
            // The next start is not to wait for them again.
            hints?.remember(topology.servers.values.map(\.id))
        }
        for (layout, count) in wanting { growAhead(layout, count: count) }
    }
}

/// The time after a start in which known volume servers may still be missing.
struct WarmUp {
    private var until: ContinuousClock.Instant?
    /// Servers that were connected before; `nil` when that is not known.
    private var awaited: Set<String>?

    init(seconds: Int, awaited: Set<String>?, now: ContinuousClock.Instant) {
        guard seconds > 0, awaited?.isEmpty != true else { return }
        until = now + .seconds(seconds)
        self.awaited = awaited
    }

    /// Seconds until it ends, rounded up; `nil` when it is over.
    func secondsLeft(now: ContinuousClock.Instant) -> Int? {
        guard let until, until > now else { return nil }
        return Int((until - now) / .seconds(1)) + 1
    }

    /// A server has reported.
    mutating func reported(_ id: String) {
        awaited?.remove(id)
        if awaited?.isEmpty == true { until = nil }
    }

    /// Ends it when its time is over.
    ///
    /// Returns whether servers were missing then.
    mutating func expire(now: ContinuousClock.Instant) -> Bool {
        guard let until, until <= now else { return false }
        self.until = nil
        return awaited?.isEmpty == false
    }
}
