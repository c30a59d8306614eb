import Model
import Platform
import Synchronization
import TestSupport
import Testing
import Wire

@testable import Master

/// Placement and growth over many servers, from the reports to the volumes made.
@Suite struct ManyServersTests {
    private static let disks = ["", "ssd"]

    private static func randomServers(_ random: inout Seed) -> [FakeServer] {
        var servers: [FakeServer] = []
        for center in 0..<Int.random(in: 2...4, using: &random) {
            for rack in 0..<Int.random(in: 1...3, using: &random) {
                for _ in 0..<Int.random(in: 1...3, using: &random) {
                    var slots: [String: Int] = [:]
                    for disk in disks where Int.random(in: 0..<3, using: &random) > 0 {
                        slots[disk] = Int.random(in: 0...3, using: &random)
                    }
                    servers.append(
                        FakeServer(
                            "s\(servers.count):1", dataCenter: "dc\(center)",
                            rack: "dc\(center)-r\(rack)", slots: slots))
                }
            }
        }
        return servers
    }

    /// What is wrong with the servers of a volume; `nil` when they are where the rule says.
    private static func fault(_ holders: [FakeServer], _ want: ReplicaPlacement) -> String? {
        guard holders.count == want.copies else { return "\(holders.count) copies" }
        // Any of them may be the first: the rule is about the whole.
        let fits = holders.contains { first in
            let center = holders.filter { $0.dataCenter == first.dataCenter }
            let rack = center.filter { $0.rack == first.rack }
            return rack.count == Int(want.sameRack) + 1
                && Set(center.map(\.rack)).count == Int(want.otherRacks) + 1
                && center.count == rack.count + Int(want.otherRacks)
                && Set(holders.map(\.dataCenter)).count == Int(want.otherDataCenters) + 1
        }
        return fits ? nil : "on \(holders.map { "\($0.url) in \($0.rack)" })"
    }

    /// Whether a volume could be made, by trying every server as the first.
    private static func isPossible(
        _ servers: [FakeServer], _ want: ReplicaPlacement, disk: String
    ) -> Bool {
        let free = servers.filter { server in
            let used = server.report.volumes.count { $0.diskType == disk }
            return (server.slots[disk] ?? 0) > used
        }
        return free.contains { first in
            let center = free.filter { $0.dataCenter == first.dataCenter }
            let racks = Set(center.map(\.rack)).subtracting([first.rack])
            let centers = Set(free.map(\.dataCenter)).subtracting([first.dataCenter])
            return center.count { $0.rack == first.rack } > Int(want.sameRack)
                && racks.count >= Int(want.otherRacks)
                && centers.count >= Int(want.otherDataCenters)
        }
    }

    @Test func everyVolumeIsWhereTheRuleSaysOrEveryServerIsNamed() async throws {
        var random = Seed("placement over random topologies")
        var made = 0
        var refused = 0
        for round in 0..<1000 {
            let core = try await makeCore { $0.seed = random.next() }
            let servers = Self.randomServers(&random)
            for server in servers { _ = try await core.report(server.report, from: server) }
            for turn in 0..<3 {
                let text =
                    "\(Int.random(in: 0...2, using: &random))"
                    + "\(Int.random(in: 0...2, using: &random))"
                    + "\(Int.random(in: 0...2, using: &random))"
                let want = try ReplicaPlacement(parsing: text)
                let disk = Self.disks[Int.random(in: 0..<2, using: &random)]
                let layout = LayoutKey(
                    collection: "c\(turn)", replication: want, diskType: disk)
                let report = await core.grow(GrowthPlan(layout: layout, volumes: 4)) {}
                let place = "round \(round), \(text) on \(LayoutKey.shown(disk))"
                made += report.volumes
                if report.volumes < 4 {
                    refused += 1
                    let why = report.failure ?? ""
                    #expect(!Self.isPossible(servers, want, disk: disk), "\(place): \(why)")
                    for server in servers {
                        #expect(why.contains("\n\(server.url) has "), "\(place): \(why)")
                    }
                } else {
                    #expect(report.failure == nil, "\(place): \(report.failure ?? "")")
                }
                core.topology.checkInvariants()
            }
            Self.checkVolumes(core, servers, "round \(round)")
        }
        #expect(made > 500 && refused > 500, "\(made) volumes, \(refused) refusals")
    }

    /// The master's view, the servers' own, and the rule must agree.
    private static func checkVolumes(_ core: MasterCore, _ servers: [FakeServer], _ place: String) {
        let topology = core.topology
        for entry in topology.volumes.values {
            let holders = servers.filter { $0.report.volumes.map(\.id).contains(entry.id) }
            let known = entry.holders.compactMap { topology.servers[$0]?.url }
            #expect(Set(known) == Set(holders.map(\.url)), "\(place): volume \(entry.id)")
            let want = topology.layouts[entry.layout].key.replication
            #expect(fault(holders, want) == nil, "\(place): volume \(entry.id) of \(want)")
            #expect(entry.reason == nil, "\(place): volume \(entry.id)")
        }
        for server in servers {
            for (disk, slots) in server.slots {
                let used = server.report.volumes.count { $0.diskType == disk }
                #expect(used <= slots, "\(place): \(server.url) has \(used) of \(slots)")
            }
        }
    }

    @Test func whatOneServerCannotMakeIsMadeOnOthers() async throws {
        let core = try await makeCore()
        let servers = (0..<4).map { FakeServer("s\($0):1", slots: ["": 40]) }
        servers[0].state.withLock { $0.refusal = PeerError(.failed, "disk full") }
        for server in servers { _ = try await core.report(server.report, from: server) }
        let layout = LayoutKey(replication: try ReplicaPlacement(parsing: "001"))
        let report = await core.grow(GrowthPlan(layout: layout, volumes: 6)) {}
        #expect(report.volumes == 6 && report.copies == 12)
        #expect(report.failure == nil)
        #expect(servers[0].report.volumes.isEmpty)
        let all = servers.flatMap(\.report.volumes)
        #expect(all.count == 12, "copies of volumes that failed elsewhere are deleted")
        core.topology.checkInvariants()
        core.shared.withLock {
            let key = $0.topology.serverKey(servers[0].id) ?? 0
            let text = $0.topology.servers[key]?.whyFull("") ?? ""
            #expect(text == "s0:1 has 0 of 40 hdd volumes, it failed just now: disk full")
            #expect($0.topology.servers.values.allSatisfy { $0.pending.isEmpty })
        }
    }

    @Test func aCopyThatAppearsAfterItsGrowthFailedIsDeleted() async throws {
        let core = try await makeCore()
        let (one, two) = (FakeServer("a:1", slots: ["": 1]), FakeServer("b:1", slots: ["": 1]))
        two.state.withLock { $0.refusal = PeerError(.unreachable, "no answer") }
        for server in [one, two] { _ = try await core.report(server.report, from: server) }
        let layout = LayoutKey(replication: try ReplicaPlacement(parsing: "001"))
        let report = await core.grow(GrowthPlan(layout: layout, volumes: 1)) {}
        #expect(report.volumes == 0)
        // It had made the volume, only its answer was lost.
        let lost = try #require(core.shared.withLock { $0.abandoned.min() })
        two.add(VolumeInfo(id: lost, replication: layout.replication))
        _ = try await core.report(two.report, from: two)
        #expect(core.topology.volumes[lost]?.reason == .retiring)
        while two.report.volumes.contains(where: { $0.id == lost }) { await Task.yield() }
        _ = try await core.report(two.report, from: two)
        #expect(core.topology.volumes.isEmpty)
    }

    @Test func aServerInMaintenanceGetsNoVolumes() async throws {
        let core = try await makeCore()
        let servers = (0..<2).map { FakeServer("s\($0):1", slots: ["": 9]) }
        for server in servers { _ = try await core.report(server.report, from: server) }
        var beat = Heartbeat(servers[0].report)
        beat.isInMaintenance = true
        let link = ServerLink(connection: ServerLink.inProcess, peer: servers[0])
        try await core.take(beat, from: link)
        let report = await core.grow(GrowthPlan(layout: LayoutKey(), volumes: 5)) {}
        #expect(report.volumes == 5)
        #expect(servers[0].report.volumes.isEmpty && servers[1].report.volumes.count == 5)
        #expect(
            core.shared.withLock { $0.whyFull("") }
                == "s0:1 has 0 of 9 hdd volumes, it is in maintenance; "
                + "s1:1 has 5 of 9 hdd volumes")
    }

    @Test func writingGoesOnElsewhereAsSoonAsAHolderIsGone() async throws {
        let core = try await makeCore()
        let servers = (0..<3).map { FakeServer("s\($0):1", slots: ["": 40]) }
        for server in servers { _ = try await core.report(server.report, from: server) }
        let layout = LayoutKey(replication: try ReplicaPlacement(parsing: "001"))
        _ = await core.grow(GrowthPlan(layout: layout, volumes: 12)) {}
        core.disconnected(servers[0].id)
        for _ in 0..<200 {
            let given = try #require(core.assignNow(try wish(replication: "001")))
            #expect(!given.copies.map(\.url).contains("s0:1"))
        }
        // Back with the same volumes, it is written to with its first report.
        let before = core.topology.layouts[0].slots.count
        _ = try await core.report(servers[0].report, from: servers[0])
        #expect(core.topology.layouts[0].slots.count == 12)
        #expect(before < 12)
        core.topology.checkInvariants()
    }

    @Test func aVolumeWithTooManyCopiesTakesNoFilesUntilOneGoes() async throws {
        let core = try await makeCore()
        let (one, two) = (FakeServer("a:1"), FakeServer("b:1"))
        for server in [one, two] {
            server.add(VolumeInfo(id: 3))
            _ = try await core.report(server.report, from: server)
        }
        #expect(
            core.topology.volumes[3]?.reason?.description
                == "2 copies instead of 1: on a:1, b:1; delete those that do not belong there")
        core.disconnected(two.id)
        #expect(core.topology.volumes[3]?.reason == nil)
    }
}
