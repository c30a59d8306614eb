import Model
import Platform
import Synchronization
import Testing
import Wire

@testable import Master

@Suite struct WatcherTests {
    private let here = ServerLocation(
        url: "a:1", publicURL: "a:1", dataCenter: "dc", grpcPort: 10001)

    private func filer(_ address: String, group: String = "") -> ClientIdentity {
        ClientIdentity(type: "filer", address: address, group: group)
    }

    private struct Full: Error {}

    private func join(
        _ watchers: inout Watchers, _ client: ClientIdentity, _ now: Int64
    ) throws -> Watching {
        guard let watching = watchers.join(client, volumes: [], now: now) else { throw Full() }
        return watching
    }

    /// What waits in a stream that has ended.
    private func all(_ watching: Watching) async -> [WatcherNews] {
        var news: [WatcherNews] = []
        for await one in watching.rest { news.append(one) }
        return news
    }

    @Test func newcomersGetEverythingAndThenChanges() async throws {
        let core = try await makeCore()
        let server = FakeServer("s:1", slots: ["": 20])
        server.add(VolumeInfo(id: 4))
        _ = try await core.report(server.report, from: server)
        let watching = try #require(core.watch(ClientIdentity(type: "client", address: "c")))
        let location = try #require(core.topology.servers.values.first?.location)
        #expect(watching.first == [.locations(LocationChange(server: location, added: [4]))])
        let given = try await core.assign(wish("pics"))
        server.state.withLock { $0.volumes[4] = nil }
        _ = try await core.report(server.report, from: server)
        core.disconnected(server.id)
        core.shared.withLock { $0.watchers.leaveAll() }
        var present: Set<VolumeID> = [4]
        var seen: Set<VolumeID> = []
        for case .locations(let change) in await all(watching) {
            #expect(change.server == location)
            #expect(change.added.isEmpty || change.removed.isEmpty)
            present.formUnion(change.added)
            present.subtract(change.removed)
            seen.formUnion(change.added)
        }
        #expect(seen.contains(given.fid.volume))
        #expect(present.isEmpty)
    }

    /// Replays what a watcher hears and compares it with the topology.
    @Test func whatIsToldIsWhatIsThere() async throws {
        var system = SystemRandomNumberGenerator()
        let seed = system.next()
        var random = SeededGenerator(seed: seed)
        let core = try await makeCore()
        let servers = (0..<4).map { FakeServer("s\($0):1") }
        let watching = try #require(core.watch(ClientIdentity(type: "client", address: "c")))
        for step in 0..<500 {
            guard let server = servers.randomElement(using: &random) else { return }
            let id = VolumeID.random(in: 1...10, using: &random)
            switch Int.random(in: 0..<4, using: &random) {
            case 0: core.disconnected(server.id)
            case 1: server.state.withLock { $0.volumes[id] = nil }
            default: server.add(VolumeInfo(id: id))
            }
            guard Bool.random(using: &random) else { continue }
            var report = server.report
            if Int.random(in: 0..<20, using: &random) == 0 { report.url = "t\(step):1" }
            _ = try await core.report(report, from: server)
        }
        let topology = core.topology
        core.shared.withLock { $0.watchers.leaveAll() }
        var told: [String: Set<VolumeID>] = [:]
        for case .locations(let change) in await all(watching) {
            told[change.server.url, default: []].formUnion(change.added)
            told[change.server.url]?.subtract(change.removed)
        }
        for server in topology.servers.values {
            #expect(told[server.url] == Set(server.volumes.keys), "seed \(seed): \(server.url)")
            told[server.url] = nil
        }
        #expect(told.values.flatMap { $0 }.isEmpty, "seed \(seed): \(told)")
    }

    @Test func filersAreAnnouncedOnceHoweverOftenTheyConnect() async throws {
        var watchers = Watchers()
        let tool = try join(&watchers, ClientIdentity(type: "adminShell", address: "t"), 1)
        let one = try join(&watchers, filer("f:1"), 2)
        let again = try join(&watchers, filer("f:1"), 3)
        #expect(again.first.count == 1)
        watchers.leave(one.number)
        #expect(watchers.nodes("filer", group: "").map(\.client.address) == ["f:1"])
        watchers.leave(again.number)
        #expect(watchers.nodes("filer", group: "").isEmpty)
        watchers.leaveAll()
        let added = NodeUpdate(client: filer("f:1"), isAdded: true, createdAt: 2)
        let removed = NodeUpdate(client: filer("f:1"), isAdded: false, createdAt: 3)
        #expect(await all(tool) == [.node(added), .node(removed)])
    }

    @Test func ringsHaveTheFilersOfTheirGroupAndGrowingVersions() async throws {
        var watchers = Watchers()
        let gateway = try join(&watchers, ClientIdentity(type: "s3", address: "g"), 1)
        let tool = try join(&watchers, ClientIdentity(type: "client", address: "t"), 1)
        let two = try join(&watchers, filer("f:2"), 2)
        _ = watchers.join(filer("f:1"), volumes: [], now: 2)
        _ = watchers.join(filer("f:9", group: "other"), volumes: [], now: 2)
        #expect(watchers.hasChangedRings)
        watchers.renewRings(now: 100)
        #expect(!watchers.hasChangedRings)
        watchers.leave(two.number)
        // A clock that goes back must not take the version with it.
        watchers.renewRings(now: 50)
        let late = try join(&watchers, filer("f:1"), 3)
        let last = LockRing(group: "", servers: ["f:1"], version: 101)
        #expect(late.first.last == .ring(last))
        watchers.leaveAll()
        let rings = await all(gateway).compactMap { news -> LockRing? in
            if case .ring(let ring) = news { ring } else { nil }
        }
        #expect(rings == [LockRing(group: "", servers: ["f:1", "f:2"], version: 100), last])
        let others = await all(tool).filter { if case .ring = $0 { true } else { false } }
        #expect(others.isEmpty)
    }

    @Test func aClientThatDoesNotReadIsCutOff() async throws {
        var watchers = Watchers()
        let slow = try join(&watchers, ClientIdentity(type: "client", address: "c"), 1)
        for id in 0..<VolumeID(Watchers.queueLimit + 10) {
            watchers.tell([LocationChange(server: here, added: [id])])
        }
        #expect(await all(slow).count == Watchers.queueLimit)
        for await _ in slow.end {}
    }
}

@Suite struct AdminLockTests {
    private let second: Int64 = 1_000_000_000

    @Test func aLeaseIsRenewedWithTheLastTokenOnly() throws {
        var random = SeededGenerator(seed: 1)
        var locks = AdminLocks()
        func lease(
            _ token: Int64, _ time: Int64, _ client: String, now: Int64
        ) throws(AdminLockRefusal) -> (token: Int64, time: Int64) {
            try locks.lease(
                "shell", token: token, time: time, client: client, message: "m", now: now,
                random: &random)
        }
        let first = try lease(0, 0, "one", now: second)
        #expect(first.token != 0 && first.time == second)
        let refusal = AdminLockRefusal.held(client: "one", message: "m")
        #expect(throws: refusal) { _ = try lease(0, 0, "two", now: 2 * second) }
        #expect(refusal.description == "already locked by one: m")
        let next = try lease(first.token, first.time, "one", now: 5 * second)
        #expect(next.token != first.token && next.time == 5 * second)
        #expect(throws: refusal) { _ = try lease(first.token, first.time, "one", now: 6 * second) }
        #expect(locks.status("shell", now: 6 * second)?.client == "one")
        // After its time anybody may have it.
        let other = try lease(0, 0, "two", now: 16 * second)
        locks.release("shell", token: next.token, time: next.time)
        #expect(locks.status("shell", now: 17 * second)?.client == "two")
        locks.release("shell", token: other.token, time: other.time)
        #expect(locks.status("shell", now: 17 * second) == nil)
    }

    @Test func locksAreBounded() throws {
        var random = SeededGenerator(seed: 1)
        var locks = AdminLocks()
        func lease(_ name: String, now: Int64) throws(AdminLockRefusal) {
            _ = try locks.lease(
                name, token: 0, time: 0, client: "", message: "", now: now, random: &random)
        }
        for name in 0..<AdminLocks.limit { try lease("\(name)", now: second) }
        #expect(throws: AdminLockRefusal.tooMany) { try lease("more", now: second) }
        try lease("more", now: 20 * second)
    }
}
