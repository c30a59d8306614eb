import Model
import Synchronization
import Testing
import Wire

@testable import Master

@Suite struct GrowthTests {
    /// Answers `true` once, for whoever waits.
    final class Gate: Sendable {
        private let waiting = Mutex<(open: Bool, waiters: [CheckedContinuation<Void, Never>])>(
            (false, []))

        func wait() async {
            await withCheckedContinuation { continuation in
                let isOpen = waiting.withLock { state in
                    if !state.open { state.waiters.append(continuation) }
                    return state.open
                }
                if isOpen { continuation.resume() }
            }
        }

        func open() {
            let waiters = waiting.withLock { state in
                state.open = true
                defer { state.waiters = [] }
                return state.waiters
            }
            for waiter in waiters { waiter.resume() }
        }
    }

    @Test(arguments: [("000", 7), ("001", 6), ("002", 3), ("003", 1)])
    func aFirstAssignMakesVolumes(_ replication: String, _ volumes: Int) async throws {
        let core = try await makeCore()
        let servers = (0..<4).map { FakeServer("s\($0):1", slots: ["": 20]) }
        for server in servers { _ = try await core.report(server.report, from: server) }
        let given = try await core.assign(wish(replication: replication))
        #expect((1...VolumeID(volumes)).contains(given.fid.volume))
        #expect(given.fid.key == 1)
        await settled(core)
        let copies = servers.flatMap { $0.report.volumes }
        #expect(Set(copies.map(\.id)) == Set(1...VolumeID(volumes)))
        #expect(copies.count == volumes * (try ReplicaPlacement(parsing: replication).copies))
    }

    /// Waits until no growth is under way.
    private func settled(_ core: MasterCore) async {
        while core.shared.withLock({ !$0.growths.isEmpty }) { await Task.yield() }
    }

    @Test func freeSlotsLimitGrowth() async throws {
        let core = try await makeCore()
        let server = FakeServer("s:1", slots: ["": 3])
        _ = try await core.report(server.report, from: server)
        _ = try await core.assign(wish())
        await settled(core)
        #expect(server.report.volumes.map(\.id) == [1, 2, 3])
        let refusal = AssignRefusal.noFreeSlots(
            LayoutKey(collection: "pics"), why: "s:1 has 3 of 3 hdd volumes")
        await #expect(throws: refusal) { try await core.assign(wish("pics")) }
        #expect(
            refusal.description
                == "failed to find writable volumes for collection:pics replication:000 ttl: "
                + "error: No writable volumes and no free volumes left for "
                + "{collection:pics replication:000 ttl: disk:hdd}: s:1 has 3 of 3 hdd volumes")
        #expect(core.shared.withLock { $0.topology.shownLayouts.count } == 1)
    }

    @Test func withoutServersThereAreNoFreeSlots() async throws {
        let core = try await makeCore()
        await #expect(
            throws: AssignRefusal.noFreeSlots(LayoutKey(), why: "no volume server is connected")
        ) { try await core.assign(wish()) }
    }

    @Test func concurrentAssignsShareOneGrowth() async throws {
        let gate = Gate()
        let core = try await makeCore()
        let server = FakeServer("s:1", slots: ["": 50]) { _ in await gate.wait() }
        _ = try await core.report(server.report, from: server)
        let given = try await withThrowingTaskGroup(of: FileID.self) { group in
            for _ in 0..<200 { group.addTask { try await core.assign(wish()).fid } }
            while core.shared.withLock({ $0.growths.values.first?.waiters.count ?? 0 }) < 200 {
                await Task.yield()
            }
            gate.open()
            return try await group.reduce(into: [FileID]()) { $0.append($1) }
        }
        await settled(core)
        #expect(Set(given.map(\.key)) == Set(1...200))
        #expect(server.report.volumes.count == 7)
    }

    @Test func failedGrowthLeavesNothingBehind() async throws {
        let core = try await makeCore()
        let good = FakeServer("a:1")
        let bad = FakeServer("b:1")
        bad.state.withLock { $0.refusal = PeerError(.failed, "disk full") }
        _ = try await core.report(good.report, from: good)
        _ = try await core.report(bad.report, from: bad)
        do {
            _ = try await core.assign(wish(replication: "001"))
            Issue.record("an assign without volumes was answered")
        } catch let AssignRefusal.growing(_, why) {
            #expect(why?.contains("could not be made on b:1: disk full") == true, "\(why ?? "")")
        }
        #expect(good.report.volumes.isEmpty)
        core.shared.withLock {
            #expect($0.topology.shownLayouts.isEmpty)
            #expect($0.topology.free("") == 16)
            #expect($0.growths.isEmpty)
        }
        // The server recovers, and with it the cluster.
        bad.state.withLock { $0.refusal = nil }
        let given = try await core.assign(wish(replication: "001"))
        #expect(given.fid.volume > 6)
    }

    @Test func placementThatCannotBeSaysSo() async throws {
        let core = try await makeCore()
        let server = FakeServer("s:1")
        _ = try await core.report(server.report, from: server)
        do {
            _ = try await core.assign(wish(replication: "010"))
            Issue.record("placed where there is one rack")
        } catch {
            #expect(
                "\(error)" == "no writable volumes for "
                    + "{collection: replication:010 ttl: disk:hdd}, volume growth in progress; the "
                    + "last attempt failed: No matching data node found! \n"
                    + "DefaultDataCenter:Only has 1 racks, not enough for 2.\ns:1 has room for 8")
        }
    }

    @Test func growsWhereItIsAskedFor() async throws {
        let core = try await makeCore()
        let (here, there) = (
            FakeServer("a:1", dataCenter: "here"), FakeServer("b:1", dataCenter: "there")
        )
        _ = try await core.report(here.report, from: here)
        _ = try await core.report(there.report, from: there)
        #expect(try await core.assign(wish(dataCenter: "here")).target.url == "a:1")
        await settled(core)
        #expect(there.report.volumes.isEmpty)
        #expect(try await core.assign(wish(dataCenter: "there")).target.url == "b:1")
        await settled(core)
        for _ in 0..<20 {
            #expect(core.assignNow(try wish(dataCenter: "there"))?.target.url == "b:1")
        }
        await #expect(throws: AssignRefusal.self) {
            try await core.assign(wish(dataCenter: "nowhere"))
        }
    }

    @Test func crowdedVolumesGetCompanyInTheBackground() async throws {
        let core = try await makeCore()
        let server = FakeServer("s:1", slots: ["": 20])
        server.add(VolumeInfo(id: 1))
        _ = try await core.report(server.report, from: server)
        _ = try #require(core.assignNow(wish()))
        await settled(core)
        #expect(server.report.volumes.count == 1)
        server.change(1) { $0.size = 990_000 }
        _ = try await core.report(server.report, from: server)
        #expect(core.assignNow(try wish())?.fid.volume == 1)
        await settled(core)
        #expect(server.report.volumes.count == 8)
    }

    @Test func aLayoutThatLostHalfItsVolumesGetsMoreAfterAWhile() async throws {
        let core = try await makeCore()
        let (one, two) = (FakeServer("a:1", slots: ["": 7]), FakeServer("b:1", slots: ["": 9]))
        for id in 1...6 { one.add(VolumeInfo(id: VolumeID(id))) }
        two.add(VolumeInfo(id: 7))
        _ = try await core.report(one.report, from: one)
        _ = try await core.report(two.report, from: two)
        core.disconnected(one.id)
        _ = try #require(core.assignNow(wish()))
        let now = ContinuousClock.now
        core.tick(now: now)
        core.tick(now: now + .seconds(29))
        await settled(core)
        #expect(two.report.volumes.count == 1)
        core.tick(now: now + .seconds(31))
        await settled(core)
        #expect(two.report.volumes.count == 7)
    }

    @Test func largeRequestsGetKeysOfTheirOwn() async throws {
        let core = try await makeCore()
        let server = FakeServer("s:1")
        _ = try await core.report(server.report, from: server)
        let large = try await core.assign(wish(count: 50_000))
        let next = try await core.assign(wish(count: 1))
        #expect(large.fid.key == KeyWindows.smallest + 1)
        #expect(next.fid.key == 1)
    }

    @Test func warmUpHoldsGrowthBackUntilKnownServersAreBack() async throws {
        let memory = MemoryState()
        let first = try await makeCore(state: memory)
        let server = FakeServer("s:1")
        _ = try await first.report(server.report, from: server)
        _ = try await first.assign(wish())
        await settled(first)
        let second = try await makeCore(state: memory)
        do {
            _ = try await second.assign(wish())
            Issue.record("answered before its volumes were known")
        } catch let AssignRefusal.warmingUp(seconds) {
            #expect((1...16).contains(seconds))
        }
        if case .warmingUp = second.lookUp(1) {} else { Issue.record("a miss, not a wait") }
        _ = try await second.report(server.report, from: server)
        _ = try #require(second.assignNow(wish()))
        #expect(second.shared.withLock { $0.topology.acceptedVolumeID } == 7)
    }

    @Test func warmUpEndsWhenAwaitedServersReported() {
        let now = ContinuousClock.now
        var warmUp = WarmUp(seconds: 15, awaited: ["a", "b"], now: now)
        #expect(warmUp.secondsLeft(now: now + .milliseconds(14_500)) == 1)
        warmUp.reported("a")
        #expect(warmUp.secondsLeft(now: now) != nil)
        warmUp.reported("b")
        #expect(warmUp.secondsLeft(now: now) == nil)
        var late = WarmUp(seconds: 15, awaited: ["a"], now: now)
        #expect(late.expire(now: now) == false)
        #expect(late.expire(now: now + .seconds(15)) == true)
        #expect(late.expire(now: now + .seconds(16)) == false)
        #expect(WarmUp(seconds: 15, awaited: [], now: now).secondsLeft(now: now) == nil)
        #expect(WarmUp(seconds: 15, awaited: nil, now: now).secondsLeft(now: now) == 16)
    }

    @Test func reportedIDsAndKeysAreInTheLogBeforeTheyCount() async throws {
        let memory = MemoryState()
        let core = try await makeCore(state: memory)
        let server = FakeServer("s:1")
        server.add(VolumeInfo(id: 40, maxKey: 77_000))
        server.add(VolumeInfo(id: 41, maxKey: .max))
        server.add(VolumeInfo(id: 40 + (1 << 21)))
        let reply = try await core.report(server.report, from: server)
        #expect(reply.topologyID == "a-topology")
        #expect(reply.volumeSizeLimit == 1 << 20)
        let kept = try await SingleNodeHost(recovering: memory).state
        #expect(kept.maxVolumeID == 41)
        #expect(kept.keyCeiling > 77_000)
        let given = try await core.assign(wish())
        #expect(given.fid.key > 77_000)
        #expect(given.fid.volume <= 41)
    }
}
