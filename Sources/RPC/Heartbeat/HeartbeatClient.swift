public import Logging
internal import Synchronization
public import Wire

/// What a volume server remembers of its cluster from one start to the next.
public struct ClusterMemory: Sendable, Hashable {
    /// Addresses of masters it heard of.
    public var masters: [String]
    /// The cluster it belongs to; empty before it joined one that has an id.
    public var topologyID: String

    /// A memory.
    public init(masters: [String] = [], topologyID: String = "") {
        self.masters = masters
        self.topologyID = topologyID
    }
}

/// How a volume server finds its master and reports to it.
public struct HeartbeatConfiguration: Sendable {
    /// The masters it was told of.
    public var masters: [PeerAddress]
    /// What it remembers from earlier.
    public var memory: ClusterMemory
    /// The id it was given; empty for the report's id, and for `ip:port` to masters of the original.
    public var id = ""
    /// Time between two full reports.
    public var pulse = Duration.seconds(5)
    /// Is called, never twice at once, when there is something new to remember; may block.
    public var remember: @Sendable (ClusterMemory) -> Void

    /// Reports to the masters it was told of and those it remembers.
    public init(
        masters: [PeerAddress], memory: ClusterMemory = ClusterMemory(),
        remember: @escaping @Sendable (ClusterMemory) -> Void = { _ in }
    ) {
        self.masters = masters
        self.memory = memory
        self.remember = remember
    }
}

/// Reports a volume server's state to whichever master leads, for as long as the server runs.
///
/// It finds the leader through any master it knows, sends the whole list first, a delta as soon as
/// a volume came or went, and the whole list with every pulse. When the stream breaks, or the leader
/// names another, it goes on elsewhere at once; attempts that fail are repeated with growing pauses.
public final class HeartbeatClient: Sendable {
    /// The longest pause between two attempts; shorter by up to a half, so that servers do not come
    /// all at once.
    public static let longestPause = Duration.seconds(2)
    /// The first pause.
    static let firstPause = Duration.milliseconds(100)
    /// Pause after a master said that another server has the same directories: it may not have
    /// noticed yet that the last stream is over.
    static let duplicatePause = Duration.seconds(2)
    /// Time a master may take to answer a question or the first report.
    static let answerTime = Duration.seconds(2)
    /// Masters that are asked.
    static let masterLimit = 32
    /// Bytes of an address or id that a master sends; longer ones are not kept.
    static let nameBytes = 255
    /// Redirections in a row that are followed without a pause.
    static let quickRedirections = 3

    /// Where it stands with its master.
    public struct Membership: Sendable, Hashable {
        /// The leader.
        public var master: PeerAddress
        /// Bytes above which a volume is full; 0 before the leader told.
        public var volumeSizeLimit: UInt64
    }

    struct State {
        var report: ServerReport?
        var memory: ClusterMemory
        var membership: Membership?
        /// Why there is no membership.
        var problem = "no master was reached yet"
        var wake: AsyncStream<Void>.Continuation?
        var waiters: [UInt64: CheckedContinuation<Void, Never>] = [:]
        var nextWaiter: UInt64 = 0
        var isStopping = false
        var task: Task<Void, Never>?
    }

    /// What it was told at start.
    public let configuration: HeartbeatConfiguration
    let channels: PeerChannels
    let logger: Logger
    let state: Mutex<State>

    /// Does nothing before the first ``update(_:)``.
    public init(
        _ configuration: HeartbeatConfiguration, channels: PeerChannels, logger: Logger
    ) {
        self.configuration = configuration
        self.channels = channels
        self.logger = logger
        state = Mutex(State(memory: configuration.memory))
    }

    /// What is to be reported from here on; what changed is told at once.
    public func update(_ report: ServerReport) {
        let wake = state.withLock { state -> AsyncStream<Void>.Continuation? in
            guard !state.isStopping else { return nil }
            state.report = report
            if state.task == nil { state.task = Task { await self.run() } }
            return state.wake
        }
        wake?.yield()
    }

    /// The leader that takes the reports; `nil` while there is none.
    public var membership: Membership? { state.withLock { $0.membership } }

    /// Why there is no membership.
    public var problem: String { state.withLock { $0.problem } }

    /// What is remembered.
    public var memory: ClusterMemory { state.withLock { $0.memory } }

    /// Waits until a leader takes the reports, at most so long.
    public func joined(within limit: Duration) async -> Membership? {
        let id = state.withLock { state in
            state.nextWaiter += 1
            return state.nextWaiter
        }
        await withCheckedContinuation { continuation in
            let isOver = state.withLock { state in
                if state.membership != nil || state.isStopping { return true }
                state.waiters[id] = continuation
                return false
            }
            guard !isOver else { return continuation.resume() }
            Task {
                try? await Task.sleep(for: limit)
                self.state.withLock { $0.waiters.removeValue(forKey: id) }?.resume()
            }
        }
        return membership
    }

    /// Tells the master that this server goes, waits until it was told, at most so long, and ends.
    public func stop(within limit: Duration) async {
        let (task, wake, waiters) = state.withLock { state in
            state.isStopping = true
            defer { state.waiters = [:] }
            return (state.task, state.wake, state.waiters.values)
        }
        for waiter in waiters { waiter.resume() }
        guard let task else { return }
        if let wake {
            wake.yield()
        } else {
            // it looks for a master: nobody has to be told
            task.cancel()
        }
        let timer = Task {
            try? await Task.sleep(for: limit)
            task.cancel()
        }
        await task.value
        timer.cancel()
    }

    /// Notes what a master said of its cluster, and tells it to be remembered when it is new.
    func learn(masters: [String], topologyID: String) {
        let changed = state.withLock { state -> ClusterMemory? in
            var memory = state.memory
            let heard = masters.filter {
                $0.utf8.count <= HeartbeatClient.nameBytes && PeerAddress($0) != nil
            }.prefix(HeartbeatClient.masterLimit)
            if !heard.isEmpty { memory.masters = heard.sorted() }
            if memory.topologyID.isEmpty, topologyID.utf8.count <= HeartbeatClient.nameBytes {
                memory.topologyID = topologyID
            }
            guard memory != state.memory else { return nil }
            state.memory = memory
            return memory
        }
        if let changed { configuration.remember(changed) }
    }

    /// The master answered: reports are taken.
    func joined(_ master: PeerAddress, volumeSizeLimit: UInt64) {
        let (isNew, waiters) = state.withLock { state in
            let known = state.membership
            let limit =
                volumeSizeLimit > 0
                ? volumeSizeLimit : known?.master == master ? known?.volumeSizeLimit ?? 0 : 0
            state.membership = Membership(master: master, volumeSizeLimit: limit)
            defer { state.waiters = [:] }
            return (known?.master != master, state.waiters.values)
        }
        for waiter in waiters { waiter.resume() }
        if isNew { logger.info("reports go to the master \(master)") }
    }

    /// Reports are no longer taken.
    func left(_ problem: String) {
        let wasMember = state.withLock { state in
            state.problem = problem
            defer { state.membership = nil }
            return state.membership != nil
        }
        if wasMember { logger.warning("no master takes reports: \(problem)") }
    }
}
