import Model
import RPC
import SwiftProtobuf
import Synchronization
import Testing
import Wire
import WireMessages

@testable import Master

@Suite struct HeartbeatTests {
    private func identity(
        _ url: String, id: String? = nil, directories: Set<String> = []
    ) -> ServerIdentity {
        ServerIdentity(id: id ?? url, url: url, directories: directories)
    }

    private func beat(
        _ server: ServerIdentity, volumes: [VolumeInfo]? = nil, slots: [String: Int] = ["": 8]
    ) -> Heartbeat {
        var beat = Heartbeat(server: server)
        beat.maxVolumes = slots
        beat.volumes = volumes
        return beat
    }

    private func link(_ connection: ConnectionID) -> ServerLink {
        ServerLink(connection: connection, peer: FakeServer("any"))
    }

    private func refusal(
        _ core: MasterCore, _ beat: Heartbeat, _ connection: ConnectionID
    ) async -> String? {
        do {
            try await core.take(beat, from: link(connection))
            return nil
        } catch {
            return "\(error)"
        }
    }

    // MARK: Lists

    @Test func listsAndDeltasAreKeptApart() async throws {
        let core = try await makeCore()
        let server = identity("a:1")
        try await core.take(
            beat(server, volumes: [VolumeInfo(id: 1, size: 500, fileCount: 3)]), from: link(1))
        var delta = Heartbeat(server: server)
        delta.added = [VolumeInfo(id: 2), VolumeInfo(id: 1, readOnlyReason: "marked")]
        try await core.take(delta, from: link(1))
        #expect(core.topology.volumes.keys.sorted() == [1, 2])
        // A delta knows no sizes: they stay.
        let held = core.topology.servers.values.first?.volumes[1]?.info
        #expect(held?.size == 500 && held?.fileCount == 3 && held?.isReadOnly == true)
        // A message without a list says nothing of the whole, nor of the slots.
        try await core.take(Heartbeat(server: server), from: link(1))
        #expect(core.topology.volumes.count == 2)
        #expect(core.topology.slots.max == 8)
        var gone = Heartbeat(server: server)
        gone.removed = [2]
        try await core.take(gone, from: link(1))
        #expect(core.topology.volumes.keys.sorted() == [1])
        try await core.take(beat(server, volumes: []), from: link(1))
        #expect(core.topology.volumes.isEmpty)
        core.topology.checkInvariants()
    }

    @Test func aSlotCountOfZeroChangesNothing() async throws {
        let core = try await makeCore()
        let server = identity("a:1")
        try await core.take(beat(server, slots: ["": 8, "ssd": 2]), from: link(1))
        try await core.take(beat(server, slots: ["": 0, "ssd": 3]), from: link(1))
        #expect(core.topology.slots.max == 11)
        try await core.take(beat(server, slots: ["hdd": .max]), from: link(1))
        #expect(core.topology.slots.max == ServerNode.slotLimit)
    }

    /// A message as it comes every few seconds.
    private static let wholeReport = MasterPb_Heartbeat.with {
        $0.ip = "10.0.0.1"
        $0.port = 8080
        $0.grpcPort = 18081
        $0.publicURL = "pub:80"
        $0.dataCenter = "dc1"
        $0.maxVolumeCounts = ["": 7, "ssd": 2]
        $0.maxFileKey = 99
        $0.locationUuids = ["u1", "u2"]
        $0.volumes = [
            .with {
                $0.id = 5
                $0.replicaPlacement = 10
                $0.ttl = 3 << 8 | 1
                $0.size = 77
                $0.readOnly = true
            }
        ]
        $0.topologyID = "x"
    }

    @Test func theFirstAddressFixesWhoSpeaks() throws {
        var reader = HeartbeatReader()
        func read(_ message: MasterPb_Heartbeat) -> Heartbeat? { reader.read(message) }
        #expect(read(.with { $0.hasNoEcShards_p = true }) == nil)
        #expect(
            read(
                .with {
                    $0.ip = "10.0.0.1"
                    $0.port = 0
                }) == nil)
        let full = try #require(read(Self.wholeReport))
        #expect(
            full.server
                == ServerIdentity(
                    id: "10.0.0.1:8080", url: "10.0.0.1:8080", publicURL: "pub:80",
                    grpcPort: 18081, dataCenter: "dc1", directories: ["u1", "u2"]))
        #expect(full.maxVolumes == ["": 7, "ssd": 2])
        #expect(full.largestKey == 99 && full.topologyID == "x")
        let volume = try #require(full.volumes?.first)
        #expect(volume.replication.description == "010" && volume.ttl.description == "3m")
        #expect(volume.size == 77 && volume.isReadOnly)
        // A delta has neither public address nor directories; they stay.
        let delta = try #require(
            read(
                .with {
                    $0.ip = "10.0.0.1"
                    $0.port = 8080
                    $0.newVolumes = [.with { $0.id = 6 }]
                    $0.deletedVolumes = [.with { $0.id = 6 }, .with { $0.id = 5 }]
                }))
        #expect(delta.server == full.server)
        #expect(delta.volumes == nil && delta.added.map(\.id) == [6] && delta.removed == [5])
        #expect(read(.with { $0.hasNoVolumes_p = true })?.volumes == [])
        // Neither has one that tells of maintenance only.
        let state = read(
            .with {
                $0.ip = "10.0.0.1"
                $0.port = 8080
                $0.state = .with { $0.maintenance = true }
            })
        #expect(state?.server == full.server && state?.isInMaintenance == true)
    }

    // MARK: Who may join

    @Test func theEndOfAnEarlierStreamDoesNoHarm() async throws {
        let core = try await makeCore()
        let server = identity("a:1", directories: ["d1"])
        try await core.take(beat(server, volumes: [VolumeInfo(id: 1)]), from: link(1))
        try await core.take(beat(server, volumes: [VolumeInfo(id: 1)]), from: link(2))
        #expect(
            await refusal(core, beat(server), 1)
                == "a:1 has opened a later stream: this one is over")
        core.disconnected(connection: 1)
        #expect(core.assignNow(try wish())?.fid.volume == 1)
        core.disconnected(connection: 2)
        #expect(core.assignNow(try wish()) == nil)
        #expect(core.topology.servers.isEmpty)
        #expect(core.topology.directoryOwners.isEmpty)
        core.topology.checkInvariants()
    }

    @Test func directoriesServedTwiceAreRefusedWithBothPlaces() async throws {
        let core = try await makeCore()
        let first = identity("a:1", directories: ["d1", "d2"])
        try await core.take(beat(first, volumes: [VolumeInfo(id: 1)]), from: link(1))
        let copy = identity("b:1", directories: ["d2", "d3"])
        #expect(
            await refusal(core, beat(copy, volumes: [VolumeInfo(id: 1)]), 2)
                == "b:1 serves directories that a:1 serves too (d2): stop one of them; a copied "
                + "directory needs an id of its own")
        #expect(core.topology.servers.count == 1)
        #expect(core.assignNow(try wish())?.target.url == "a:1")
        // Once the first is gone the other may have them.
        core.disconnected(connection: 1)
        try await core.take(beat(copy, volumes: [VolumeInfo(id: 1)]), from: link(3))
        #expect(core.assignNow(try wish())?.target.url == "b:1")
    }

    @Test func aServerIDInUseIsRefusedButAMovedServerIsNot() async throws {
        let core = try await makeCore()
        let first = identity("a:1", id: "n1", directories: ["d1"])
        try await core.take(beat(first, volumes: [VolumeInfo(id: 1)]), from: link(1))
        let other = identity("b:1", id: "n1", directories: ["d9"])
        #expect(
            await refusal(core, beat(other), 2)
                == "volume server id n1 is reported by b:1 (directory d9), but a:1 (directory d1) "
                + "is connected with it: give one of them another -id")
        let moved = identity("c:1", id: "n1", directories: ["d1"])
        try await core.take(beat(moved, volumes: [VolumeInfo(id: 1)]), from: link(3))
        #expect(core.assignNow(try wish())?.target.url == "c:1")
        #expect(core.topology.servers.count == 1)
    }

    @Test func aForeignClusterIsRefused() async throws {
        let core = try await makeCore()
        var foreign = beat(identity("a:1"), volumes: [VolumeInfo(id: 1)])
        foreign.topologyID = "another"
        #expect(
            await refusal(core, foreign, 1)
                == "a:1 belongs to cluster another, this master to a-topology: check -master "
                + "there, or give the server empty directories")
        #expect(core.topology.servers.isEmpty)
        foreign.topologyID = "a-topology"
        #expect(await refusal(core, foreign, 1) == nil)
    }

    @Test func aVolumeTwiceOnOneServerTakesNoFiles() async throws {
        let core = try await makeCore()
        let server = identity("a:1")
        let twice = [VolumeInfo(id: 1), VolumeInfo(id: 1, diskID: 2)]
        try await core.take(beat(server, volumes: twice), from: link(1))
        #expect(
            core.topology.volumes[1]?.reason?.description
                == "a:1 has it in directories 0 and 2: remove one of the two")
        try await core.take(beat(server, volumes: twice), from: link(1))
        #expect(core.topology.volumes[1]?.reason != nil)
        try await core.take(beat(server, volumes: [VolumeInfo(id: 1)]), from: link(1))
        #expect(core.topology.volumes[1]?.reason == nil)
    }

    // MARK: Absurd reports

    @Test func absurdReportsAreRefusedAndChangeNothing() async throws {
        let memory = MemoryState()
        let core = try await makeCore(state: memory)
        let good = identity("good:1")
        try await core.take(beat(good, volumes: [VolumeInfo(id: 1)]), from: link(1))
        let commits = memory.commitCount
        let many = [VolumeInfo](
            repeating: VolumeInfo(id: 7), count: Topology.serverVolumeLimit + 1)
        #expect(
            await refusal(core, beat(identity("bad:1"), volumes: many), 2)
                == "bad:1 reports 131073 volumes, at most 131072 are taken")
        let long = String(repeating: "x", count: 300)
        for absurd in [
            ServerIdentity(id: long, url: "bad:1"),
            ServerIdentity(id: "b", url: "bad:1", rack: long),
            ServerIdentity(id: "", url: "bad:1"), ServerIdentity(id: "b", url: ""),
        ] {
            #expect(await refusal(core, beat(absurd), 2) != nil)
        }
        let named = [VolumeInfo(id: 3, collection: long)]
        #expect(
            await refusal(core, beat(identity("bad:1"), volumes: named), 2)
                == "bad:1: its collection or disk type of volume 3 has 300 bytes, "
                + "at most 255 are taken")
        let types = Dictionary(uniqueKeysWithValues: (0..<300).map { ("t\($0)", 1) })
        #expect(await refusal(core, beat(identity("bad:1"), slots: types), 2) != nil)
        #expect(core.topology.servers.count == 1)
        #expect(memory.commitCount == commits)
        #expect(core.assignNow(try wish())?.target.url == "good:1")
    }

    @Test func keysNoMasterGaveOutAreNotBelieved() async throws {
        let memory = MemoryState()
        let core = try await makeCore(state: memory)
        var absurd = beat(identity("a:1"), volumes: [VolumeInfo(id: 1)])
        absurd.largestKey = .max
        try await core.take(absurd, from: link(1))
        #expect(core.assignNow(try wish())?.fid.key == 1)
        absurd.largestKey = 50_000
        try await core.take(absurd, from: link(1))
        let key = try await core.assign(wish()).fid.key
        #expect(key > 50_000 && key < 100_000)
        #expect(try await SingleNodeHost(recovering: memory).state.keyCeiling > 50_000)
    }

    @Test func idsFarApartDoNotUseUpTheIDs() async throws {
        let core = try await makeCore()
        let step = VolumeID(1) << 20
        let sparse = (1..<200).map { VolumeInfo(id: $0 * step) }
        try await core.take(beat(identity("a:1"), volumes: sparse), from: link(1))
        #expect(core.topology.acceptedVolumeID <= 17 * step)
        #expect(core.topology.volumes[199 * step]?.reason == .idNotAccepted)
    }
}
