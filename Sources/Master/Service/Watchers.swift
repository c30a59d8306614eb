import Model

/// Whoever keeps a stream open to hear where volumes are: filers, gateways, tools.
struct ClientIdentity: Sendable, Hashable {
    /// `filer`, `s3`, `client`, `adminShell`, ….
    var type: String
    /// As the client gave it, or one made up for it.
    var address: String
    /// Filers of one group share what they store.
    var group = ""
    var version = ""
    var dataCenter = ""
    var rack = ""

    /// Clients that others are told of.
    static let announcedTypes: Set<String> = ["filer", "s3", "broker", "master"]
    /// Clients that may be listed.
    static let listedTypes: Set<String> = ["filer", "s3", "broker"]

    /// Whether `self` and `other` are one client that has connected twice.
    func isSame(as other: ClientIdentity) -> Bool {
        type == other.type && address == other.address && group == other.group
    }
}

/// A client that came or went.
struct NodeUpdate: Sendable, Hashable {
    var client: ClientIdentity
    var isAdded: Bool
    /// Unix nanoseconds.
    var createdAt: Int64
}

/// The filers of a group, which share locks.
struct LockRing: Sendable, Hashable {
    var group: String
    var servers: [String]
    /// Grows with every change; unix nanoseconds.
    var version: Int64
}

/// What a watcher is told.
enum WatcherNews: Sendable, Hashable {
    case locations(LocationChange)
    case node(NodeUpdate)
    case ring(LockRing)
}

/// What a watcher gets first, and what comes after.
struct Watching: Sendable {
    let number: UInt64
    /// Every server with all its volumes, filers of the group, the group's ring.
    let first: [WatcherNews]
    let rest: AsyncStream<WatcherNews>
    /// Ends when the watcher is too slow, or is to go for another reason.
    let end: AsyncStream<Void>
}

/// The clients that are told of changes; none of them can hold up the others.
struct Watchers: Sendable {
    /// Clients at most.
    static let limit = 10_000
    /// News that wait for one client; one that is further behind has to connect anew.
    static let queueLimit = 10_000

    private struct Watcher {
        let client: ClientIdentity
        let createdAt: Int64
        let continuation: AsyncStream<WatcherNews>.Continuation
        let end: AsyncStream<Void>.Continuation

        func finish() {
            continuation.finish()
            end.finish()
        }
    }

    private var watchers: [UInt64: Watcher] = [:]
    private var next: UInt64 = 0
    private var rings: [String: LockRing] = [:]
    /// Groups whose filers have changed since their ring was told.
    private var changedGroups: Set<String> = []

    var count: Int { watchers.count }

    /// A client has connected; `nil` when there are too many.
    ///
    /// `volumes` is everything there is at this moment.
    mutating func join(
        _ client: ClientIdentity, volumes: [LocationChange], now: Int64
    ) -> Watching? {
        guard watchers.count < Watchers.limit else { return nil }
        next += 1
        let number = next
        let isKnown = watchers.values.contains { $0.client.isSame(as: client) }
        let (stream, continuation) = AsyncStream.makeStream(
            of: WatcherNews.self, bufferingPolicy: .bufferingOldest(Watchers.queueLimit))
        let (end, ending) = AsyncStream.makeStream(of: Void.self)
        watchers[number] = Watcher(
            client: client, createdAt: now, continuation: continuation, end: ending)
        if ClientIdentity.announcedTypes.contains(client.type), !isKnown {
            tell(.node(NodeUpdate(client: client, isAdded: true, createdAt: now)))
        }
        if client.type == "filer", !isKnown { changedGroups.insert(client.group) }
        var first = volumes.map { WatcherNews.locations($0) }
        first += nodes("filer", group: client.group).map { .node($0) }
        if client.type == "filer" || client.type == "s3", let ring = rings[client.group] {
            first.append(.ring(ring))
        }
        return Watching(number: number, first: first, rest: stream, end: end)
    }

    /// A client's stream is over.
    mutating func leave(_ number: UInt64) {
        guard let gone = watchers.removeValue(forKey: number) else { return }
        gone.finish()
        guard !watchers.values.contains(where: { $0.client.isSame(as: gone.client) }) else {
            return
        }
        if ClientIdentity.announcedTypes.contains(gone.client.type) {
            tell(
                .node(
                    NodeUpdate(client: gone.client, isAdded: false, createdAt: gone.createdAt)))
        }
        if gone.client.type == "filer" { changedGroups.insert(gone.client.group) }
    }

    /// Ends every stream.
    mutating func leaveAll() {
        for watcher in watchers.values { watcher.finish() }
        watchers = [:]
    }

    /// Tells everybody where volumes came and went.
    func tell(_ changes: [LocationChange]) {
        for change in changes { tell(.locations(change)) }
    }

    /// Clients of a type and group, each once, oldest first.
    func nodes(_ type: String, group: String) -> [NodeUpdate] {
        var seen: Set<String> = []
        return watchers.values.filter { $0.client.type == type && $0.client.group == group }
            .sorted { ($0.createdAt, $0.client.address) < ($1.createdAt, $1.client.address) }
            .filter { seen.insert($0.client.address).inserted }
            .map { NodeUpdate(client: $0.client, isAdded: true, createdAt: $0.createdAt) }
    }

    /// Where clients of a type are, whatever their group.
    func addresses(ofType type: String) -> Set<String> {
        Set(watchers.values.lazy.map(\.client).filter { $0.type == type }.map(\.address))
    }

    /// Whether a group's filers have changed since its ring was told.
    var hasChangedRings: Bool { !changedGroups.isEmpty }

    /// Makes new rings for groups whose filers have changed, and tells who needs them.
    mutating func renewRings(now: Int64) {
        for group in changedGroups {
            let servers = nodes("filer", group: group).map(\.client.address).sorted()
            let version = max(now, (rings[group]?.version ?? 0) + 1)
            let ring = LockRing(group: group, servers: servers, version: version)
            // A ring without filers is kept too: its version must not go back.
            if rings.count < Watchers.limit || rings[group] != nil { rings[group] = ring }
            tell(.ring(ring)) {
                $0.group == group && ($0.type == "filer" || $0.type == "s3")
            }
        }
        changedGroups = []
    }

    private func tell(_ news: WatcherNews, to isMeant: (ClientIdentity) -> Bool = { _ in true }) {
        for watcher in watchers.values where isMeant(watcher.client) {
            // What one misses cannot be told again: it connects anew and gets everything.
            if case .dropped = watcher.continuation.yield(news) { watcher.finish() }
        }
    }
}
