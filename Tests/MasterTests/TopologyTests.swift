import Model
import Platform
import Synchronization
import Testing
import Wire

@testable import Master

@Suite struct TopologyTests {
    static let limit: UInt64 = 1 << 20

    private func topology() -> Topology {
        Topology(volumeSizeLimit: TopologyTests.limit, acceptedVolumeID: 1000)
    }

    private func reason(_ topology: Topology, _ id: VolumeID) -> String? {
        topology.volumes[id]?.reason?.description
    }

    private func isWritable(_ topology: Topology, _ id: VolumeID) -> Bool {
        guard let entry = topology.volumes[id] else { return false }
        return topology.layouts[entry.layout].isWritable(id)
    }

    @Test func volumesLeaveAndComeBackByThemselves() {
        var topology = topology()
        let server = FakeServer("a:1")
        server.add(VolumeInfo(id: 3))
        topology.report(server.report, from: server)
        #expect(isWritable(topology, 3))

        server.change(3) { $0.size = TopologyTests.limit }
        topology.report(server.report, from: server)
        #expect(!isWritable(topology, 3))
        #expect(reason(topology, 3) == "full: 1048576 bytes, the limit is 1048576")

        server.change(3) {
            $0.size = TopologyTests.limit - 1
            $0.readOnlyReason = "disk failed"
        }
        topology.report(server.report, from: server)
        #expect(reason(topology, 3) == "read-only on a:1: disk failed")

        server.change(3) { $0.readOnlyReason = nil }
        topology.report(server.report, from: server)
        #expect(isWritable(topology, 3))
        #expect(topology.layouts[0].crowded == 1)

        topology.setVacuuming(3, true)
        #expect(reason(topology, 3) == "being vacuumed")
        topology.setVacuuming(3, false)
        #expect(isWritable(topology, 3))
        topology.checkInvariants()
    }

    @Test func copiesMustBeConnected() throws {
        var topology = topology()
        let volume = VolumeInfo(id: 3, replication: try ReplicaPlacement(parsing: "001"))
        let (one, two) = (FakeServer("a:1"), FakeServer("b:1"))
        one.add(volume)
        two.add(volume)
        topology.report(one.report, from: one)
        #expect(reason(topology, 3) == "1 of 2 copies connected: on a:1")
        topology.report(two.report, from: two)
        #expect(isWritable(topology, 3))
        #expect(topology.layouts[0].slots[0].targets.map(\.url) == ["a:1", "b:1"])
        topology.disconnect(one.id)
        #expect(reason(topology, 3) == "1 of 2 copies connected: on b:1")
        two.change(3) { $0.collection = "x" }
        topology.report(two.report, from: two)
        topology.report(one.report, from: one)
        #expect(
            reason(topology, 3)
                == "its copies disagree: {collection: replication:001 ttl: disk:hdd} on a:1, "
                + "but {collection:x replication:001 ttl: disk:hdd} on b:1")
        topology.disconnect(one.id)
        topology.disconnect(two.id)
        #expect(topology.volumes.isEmpty)
        #expect(topology.shownLayouts.isEmpty)
        topology.checkInvariants()
    }

    @Test func aVolumeAboveTheAcceptedIDsTakesNoFiles() {
        var topology = topology()
        let server = FakeServer("a:1")
        server.add(VolumeInfo(id: 2000))
        topology.report(server.report, from: server)
        #expect(reason(topology, 2000) == "its id is too far above the cluster's largest volume id")
        topology.accept(2000)
        #expect(isWritable(topology, 2000))
    }

    @Test func aFreshVolumeSurvivesReportsThatWereUnderWay() {
        var topology = topology()
        let server = FakeServer("a:1")
        let before = server.report
        topology.report(before, from: server)
        let now = ContinuousClock.now
        let key = topology.serverKey(server.id) ?? 0
        topology.created(VolumeInfo(id: 5), on: [key], now: now)
        topology.created(VolumeInfo(id: 6), on: [key], now: now)
        for _ in 0..<5 { topology.report(before, from: server, now: now + .seconds(9)) }
        #expect(isWritable(topology, 5))
        // Once the server has named it, a list without it means that it is gone.
        server.add(VolumeInfo(id: 5))
        topology.report(server.report, from: server, now: now + .seconds(9))
        topology.report(before, from: server, now: now + .seconds(9))
        #expect(topology.volumes[5] == nil)
        topology.report(before, from: server, now: now + .seconds(10))
        #expect(topology.volumes[6] == nil)
        topology.checkInvariants()
    }

    @Test func aNewServerAtAnAddressReplacesTheOldOne() {
        var topology = topology()
        let old = FakeServer("a:1")
        old.add(VolumeInfo(id: 1))
        topology.report(old.report, from: old)
        var report = old.report
        report.id = "another"
        report.volumes = [VolumeInfo(id: 2)]
        topology.report(report, from: old)
        #expect(topology.servers.count == 1)
        #expect(topology.volumes.keys.sorted() == [2])
    }

    @Test func aMovedServerIsFoundAtItsNewAddress() {
        var topology = topology()
        let server = FakeServer("a:1")
        server.add(VolumeInfo(id: 1))
        topology.report(server.report, from: server)
        var report = server.report
        report.url = "b:2"
        report.publicURL = "b.example:2"
        topology.report(report, from: server)
        let locations = String(decoding: topology.volumes[1]?.locations ?? [], as: UTF8.self)
        #expect(
            locations == #"[{"url":"b:2","publicUrl":"b.example:2","#
                + #""dataCenter":"DefaultDataCenter","grpcPort":18080}]"#)
        #expect(topology.layouts[0].slots[0].targets[0].url == "b:2")
    }

    @Test func freeSlotsCountWhatIsBeingMadeAndAreNeverNegative() {
        var topology = topology()
        let server = FakeServer("a:1", slots: ["hdd": 2, "ssd": 1])
        topology.report(server.report, from: server)
        let key = topology.serverKey(server.id) ?? 0
        #expect(topology.free("") == 2)
        #expect(topology.free("ssd") == 1)
        #expect(topology.free("nvme") == 0)
        topology.withServer(key) { $0.reserve("") }
        #expect(topology.free("") == 1)
        for id in 1...4 { server.add(VolumeInfo(id: VolumeID(id))) }
        topology.report(server.report, from: server)
        #expect(topology.free("") == 0)
        #expect(topology.slots.free == 1)
        #expect(
            topology.servers[key]?.whyFull("") == "a:1 has 4 of 2 hdd volumes and 1 being made")
        #expect(topology.servers[key]?.whyFull("nvme") == "a:1 has no nvme disk")
    }

    @Test func randomReportsKeepThePartsInAgreement() throws {
        var system = SystemRandomNumberGenerator()
        let seed = system.next()
        var random = SeededGenerator(seed: seed)
        var topology = topology()
        let servers = (0..<5).map { FakeServer("s\($0):1", rack: "r\($0 % 2)") }
        let placements = try ["000", "001", "010"].map(ReplicaPlacement.init(parsing:))
        for _ in 0..<3000 {
            guard let server = servers.randomElement(using: &random),
                let placement = placements.randomElement(using: &random)
            else { return }
            let id = VolumeID.random(in: 1...20, using: &random)
            switch Int.random(in: 0..<8, using: &random) {
            case 0: topology.disconnect(server.id)
            case 1: server.state.withLock { $0.volumes[id] = nil }
            case 2: server.change(id) { $0.size = .random(in: 0...(2 << 20), using: &random) }
            case 3:
                let isReadOnly = Bool.random(using: &random)
                server.change(id) { $0.readOnlyReason = isReadOnly ? "x" : nil }
            case 4:
                let holders = servers.prefix(2).compactMap { topology.serverKey($0.id) }
                topology.created(
                    VolumeInfo(id: id, replication: placement), on: holders, now: .now)
            case 5: topology.setVacuuming(id, Bool.random(using: &random))
            default:
                server.add(
                    VolumeInfo(
                        id: id, collection: Bool.random(using: &random) ? "" : "c",
                        replication: placement))
            }
            if Bool.random(using: &random) { topology.report(server.report, from: server) }
            topology.checkInvariants()
        }
        for server in servers { topology.disconnect(server.id) }
        #expect(topology.volumes.isEmpty, "seed \(seed)")
        #expect(topology.shownLayouts.isEmpty, "seed \(seed)")
    }
}

@Suite struct LayoutTests {
    private func slot(_ id: VolumeID, _ remaining: Int64, crowded: Bool = false) -> WritableSlot {
        WritableSlot(
            volume: id, remaining: remaining, averageFile: 1000, isCrowded: crowded,
            targets: [AssignTarget(server: Int(id), url: "s\(id)", publicURL: "s\(id)")])
    }

    @Test func choiceEvensVolumesOut() {
        var random = SeededGenerator(seed: 3)
        var layout = Layout(key: LayoutKey())
        let start: [Int64] = [5_000_000, 3_000_000, 1_000_000]
        for (id, remaining) in start.enumerated() {
            layout.setWritable(slot(VolumeID(id), remaining))
        }
        // 20 MB in files of 1 KB: what is left must be about the same everywhere.
        for _ in 0..<20_000 {
            guard let position = layout.pick(random: &random) else { return }
            layout.charge(position, count: 1, bytes: 0)
        }
        let left = layout.slots.map(\.remaining)
        #expect((left.max() ?? 0) - (left.min() ?? 0) < 50_000, "\(left)")
    }

    @Test func everyVolumeIsPickedEquallyWhenAllAreAlike() {
        var random = SeededGenerator(seed: 5)
        var layout = Layout(key: LayoutKey())
        for id in 0..<10 { layout.setWritable(slot(VolumeID(id), 1 << 40)) }
        var counts = [Int](repeating: 0, count: 10)
        for _ in 0..<10_000 {
            guard let position = layout.pick(random: &random) else { return }
            counts[position] += 1
            layout.charge(position, count: 1, bytes: 0)
        }
        #expect(counts.allSatisfy { (990...1010).contains($0) }, "\(counts)")
    }

    @Test func aServerGetsRunsOfFilesForOneVolume() {
        var random = SeededGenerator(seed: 11)
        var layout = Layout(key: LayoutKey())
        for id in 0..<7 {
            var slot = slot(VolumeID(id), 1 << 30)
            slot.targets = [AssignTarget(server: 1, url: "s", publicURL: "s")]
            layout.setWritable(slot)
        }
        var picked: [VolumeID] = []
        for _ in 0..<20_000 {
            guard let position = layout.pick(random: &random) else { return }
            picked.append(layout.slots[position].volume)
            layout.charge(position, count: 1, bytes: 0)
        }
        let changes = zip(picked, picked.dropFirst()).count(where: { $0 != $1 })
        #expect(changes <= 20_000 / 256 + 1, "\(changes) changes of volume")
        #expect(Set(picked).count == 7)
        // A volume that takes no files any more ends its run.
        layout.removeWritable(picked[picked.count - 1])
        if let next = layout.pick(random: &random) {
            #expect(layout.slots[next].volume != picked[picked.count - 1])
        }
    }

    @Test func removalKeepsTheOthers() {
        var layout = Layout(key: LayoutKey())
        for id in 1...4 { layout.setWritable(slot(VolumeID(id), 1, crowded: id == 2)) }
        #expect(layout.crowded == 1)
        layout.removeWritable(2)
        layout.removeWritable(9)
        #expect(layout.writables == [1, 3, 4])
        #expect(layout.crowded == 0)
        layout.removeWritable(4)
        layout.removeWritable(1)
        layout.removeWritable(3)
        #expect(layout.slots.isEmpty)
    }

    @Test func hugeWishesDoNotOverflow() {
        var layout = Layout(key: LayoutKey())
        layout.setWritable(slot(1, 5))
        layout.charge(0, count: .max, bytes: .max)
        layout.charge(0, count: .max, bytes: .max)
        #expect(layout.slots[0].remaining < 0)
    }
}
