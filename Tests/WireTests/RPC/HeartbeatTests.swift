import GRPCCore
import Model
import RPC
import SwiftProtobuf
import Synchronization
import Testing
import Wire
import WireMessages

@Suite(.timeLimit(.minutes(2))) struct HeartbeatTests {
    /// A master on a free port, and a client that was told of it.
    private struct Pair {
        let master = ScriptedMaster()
        let server: RPCServer
        let address: PeerAddress
        let channels = PeerChannels(group: Quiet.group)
        let remembered = Remembered()
        let client: HeartbeatClient

        init(
            topologyID: String = "", memory: ClusterMemory = ClusterMemory(), id: String = "",
            pulse: Duration = .seconds(600)
        ) async throws {
            server = try await Quiet.serve(master)
            address = Quiet.address(server.port)
            master.lead(address.long, topologyID: topologyID)
            var configuration = HeartbeatConfiguration(masters: [address], memory: memory) {
                [remembered] in remembered.add($0)
            }
            configuration.id = id
            configuration.pulse = pulse
            client = HeartbeatClient(configuration, channels: channels, logger: Quiet.logger)
        }

        func end() async {
            await client.stop(within: .seconds(5))
            await channels.close()
            await server.shutdown(grace: .seconds(1))
        }
    }

    private final class Remembered: Sendable {
        private let memories = Mutex<[ClusterMemory]>([])
        func add(_ memory: ClusterMemory) { memories.withLock { $0.append(memory) } }
        var all: [ClusterMemory] { memories.withLock { $0 } }
    }

    private func report(_ volumes: [VolumeInfo], maxVolumes: Int = 8) -> ServerReport {
        ServerReport(
            id: "uuid-1", url: "10.0.0.7:8080", publicURL: "files.example:80", grpcPort: 18080,
            dataCenter: "dc1", rack: "r1", maxVolumes: ["": maxVolumes], volumes: volumes,
            directoryProblems: ["/d": "full"])
    }

    @Test("The first report is the whole list, then deltas tell what came and went")
    func fullThenDeltas() async throws {
        let pair = try await Pair(topologyID: "cluster-1")
        pair.master.react(
            .member(
                .with {
                    $0.volumeSizeLimit = 123
                    $0.topologyID = "cluster-1"
                    $0.masters = ["10.0.0.1:9333", "10.0.0.2:9333.5000"]
                }))
        var hearing = Hearing(pair.master)
        let one = VolumeInfo(id: 1, collection: "c", maxKey: 77)
        let two = VolumeInfo(id: 2, ttl: TimeToLive(minutes: 3), maxKey: 5)
        pair.client.update(report([one]))
        let first = await hearing.beat()
        #expect(first.ip == "10.0.0.7" && first.port == 8080 && first.grpcPort == 18080)
        #expect(first.publicURL == "files.example:80" && first.id == "uuid-1")
        #expect(first.dataCenter == "dc1" && first.rack == "r1")
        #expect(first.maxVolumeCounts == ["": 8] && first.maxFileKey == 77)
        #expect(first.volumes.map { VolumeInfo($0).collection } == ["c"])
        #expect(!first.hasNoVolumes_p && first.hasNoEcShards_p && !first.hasVolumeDigest)
        #expect(first.locationUuids == ["uuid-1"] && first.hasState)
        #expect(first.directoryProblems == ["/d": "full"] && first.topologyID.isEmpty)

        let membership = await pair.client.joined(within: .seconds(20))
        #expect(membership?.master == pair.address && membership?.volumeSizeLimit == 123)
        let memory = ClusterMemory(
            masters: ["10.0.0.1:9333", "10.0.0.2:9333.5000"], topologyID: "cluster-1")
        #expect(pair.client.memory == memory)
        #expect(pair.remembered.all == [memory])

        pair.client.update(report([one, two]))
        let came = await hearing.beat()
        #expect(came.newVolumes.map(\.id) == [2] && came.newVolumes.first?.ttl == 3 * 256 + 1)
        #expect(came.deletedVolumes.isEmpty && came.volumes.isEmpty && !came.hasNoVolumes_p)
        #expect(came.ip == "10.0.0.7" && came.id == "uuid-1")
        pair.client.update(report([two]))
        let went = await hearing.beat()
        #expect(went.newVolumes.isEmpty && went.deletedVolumes.map(\.id) == [1])

        var full = two
        full.readOnlyReason = "disk"
        pair.client.update(report([full]))
        let changed = await hearing.beat()
        #expect(changed.volumes.map(\.readOnly) == [true] && changed.topologyID == "cluster-1")
        #expect(changed.volumes.first?.readOnlyReason == "disk")
        pair.client.update(report([full], maxVolumes: 9))
        let counts = await hearing.beat()
        #expect(counts.maxVolumeCounts == ["": 9])
        await pair.end()
    }

    @Test("Every pulse tells the whole list; an empty one says so")
    func pulses() async throws {
        let pair = try await Pair(pulse: .milliseconds(100))
        var hearing = Hearing(pair.master)
        pair.client.update(report([]))
        for _ in 0..<3 {
            let beat = await hearing.beat()
            #expect(beat.hasNoVolumes_p && beat.volumes.isEmpty && beat.maxVolumeCounts == ["": 8])
        }
        await pair.end()
    }

    @Test("To the Go original, which names no cluster, the id is ip:port unless one was given")
    func ids() async throws {
        for (id, expected) in [("", ""), ("node-7", "node-7")] {
            let pair = try await Pair(id: id)
            var hearing = Hearing(pair.master)
            pair.client.update(report([]))
            #expect(await hearing.beat().id == expected)
            await pair.end()
        }
    }

    @Test("Stopping tells the master that nothing is here any more")
    func farewell() async throws {
        let pair = try await Pair()
        var hearing = Hearing(pair.master)
        pair.client.update(report([VolumeInfo(id: 1)]))
        _ = await pair.client.joined(within: .seconds(20))
        await pair.client.stop(within: .seconds(20))
        let last = await hearing.beat { $0.hasNoVolumes_p }
        #expect(last.ip == "10.0.0.7" && last.volumes.isEmpty)
        await hearing.closed()
        #expect(pair.client.membership == nil)
        #expect(pair.channels.counts.streams == 0)
        await pair.end()
    }

    @Test("It goes where a master says the leader is, and comes back when told to")
    func redirection() async throws {
        let pair = try await Pair()
        let other = ScriptedMaster()
        let otherServer = try await Quiet.serve(other)
        let otherAddress = Quiet.address(otherServer.port, port: 9334)
        other.lead(otherAddress.long)
        pair.master.react(.answer(.with { $0.leader = otherAddress.long }))
        pair.client.update(report([VolumeInfo(id: 4)]))
        var hearing = Hearing(other)
        let beat = await hearing.beat()
        #expect(beat.volumes.map(\.id) == [4])
        #expect(await pair.client.joined(within: .seconds(20))?.master == otherAddress)
        #expect(pair.master.streams.current == 1)
        await pair.end()
        await otherServer.shutdown(grace: .seconds(1))
    }

    @Test("Two masters that name each other do not keep it running in circles")
    func circles() async throws {
        let pair = try await Pair()
        let other = ScriptedMaster()
        let otherServer = try await Quiet.serve(other)
        let otherAddress = Quiet.address(otherServer.port, port: 9334)
        other.react(.answer(.with { $0.leader = pair.address.long }))
        pair.master.react(.answer(.with { $0.leader = otherAddress.long }))
        pair.client.update(report([]))
        let streams = { pair.master.streams.current + other.streams.current }
        await until { streams() > 2 }
        let before = streams()
        #expect(await pair.client.joined(within: .seconds(1)) == nil)
        #expect(streams() - before < 40, "\(streams() - before) streams in a second")
        await pair.end()
        await otherServer.shutdown(grace: .seconds(1))
    }

    @Test("A master that comes back gets the whole list again in well under a second")
    func comesBack() async throws {
        let pair = try await Pair()
        pair.client.update(report([VolumeInfo(id: 1)]))
        _ = await pair.client.joined(within: .seconds(20))
        await pair.server.shutdown(grace: .milliseconds(10))
        await until { pair.client.membership == nil }
        #expect(!pair.client.problem.isEmpty)

        let next = ScriptedMaster()
        next.lead(pair.address.long)
        let clock = ContinuousClock()
        let server = try await Quiet.serve(next, port: pair.server.port)
        let begun = clock.now
        var hearing = Hearing(next)
        let beat = await hearing.beat()
        #expect(beat.volumes.map(\.id) == [1])
        #expect(clock.now - begun < .seconds(2))
        await pair.end()
        await server.shutdown(grace: .seconds(1))
    }

    @Test("A foreign cluster is not told anything, one it learns of later is left")
    func foreignCluster() async throws {
        let memory = ClusterMemory(topologyID: "mine")
        let asked = try await Pair(topologyID: "theirs", memory: memory)
        asked.client.update(report([]))
        await until { asked.client.problem.contains("theirs") }
        #expect(asked.client.membership == nil)
        #expect(asked.master.streams.current == 0)
        #expect(asked.client.problem.contains("theirs") && asked.client.problem.contains("mine"))
        await asked.end()

        let told = try await Pair(memory: memory)
        told.master.react(.answer(.with { $0.topologyID = "theirs" }))
        told.client.update(report([]))
        await until { told.client.problem.contains("theirs") }
        #expect(told.client.membership == nil)
        #expect(told.client.memory == memory && told.remembered.all.isEmpty)
        await told.end()
    }

    @Test("When the same directories are served elsewhere it says so and tries again, slowly")
    func duplicates() async throws {
        let pair = try await Pair()
        pair.master.react(
            .refuse(.with { $0.duplicatedUuids = ["uuid-1"] }, "duplicate UUIDs found"),
            .member(.with { $0.volumeSizeLimit = 5 }))
        pair.client.update(report([]))
        await until { pair.client.problem.contains("uuid-1") }
        #expect(pair.master.streams.current == 1)
        #expect(await pair.client.joined(within: .seconds(20))?.volumeSizeLimit == 5)
        await pair.end()
    }

    @Test("The right master is found through any one that answers, also a remembered one")
    func remembered() async throws {
        let pair = try await Pair()
        let nowhere = PeerAddress(host: "127.0.0.1", port: 1, grpcPort: 1)
        let client = HeartbeatClient(
            HeartbeatConfiguration(
                masters: [nowhere],
                memory: ClusterMemory(masters: ["no address", pair.address.long])),
            channels: pair.channels, logger: Quiet.logger)
        client.update(report([]))
        #expect(await client.joined(within: .seconds(20))?.master == pair.address)
        await client.stop(within: .seconds(5))
        await pair.end()
    }

    @Test("A master that takes the stream and says nothing is given up")
    func silent() async throws {
        let pair = try await Pair(pulse: .milliseconds(200))
        pair.master.react(.silent, .member(.init()))
        pair.client.update(report([]))
        #expect(await pair.client.joined(within: .seconds(30)) != nil)
        #expect(pair.master.streams.current == 2)
        await pair.end()
    }

    @Test("Over the seam: reports wait for a leader, and fail with a reason")
    func remoteMaster() async throws {
        let pair = try await Pair()
        pair.master.react(.member(.with { $0.volumeSizeLimit = 9 }))
        let remote = RemoteMaster(
            HeartbeatConfiguration(masters: [pair.address]), channels: pair.channels,
            logger: Quiet.logger)
        let volumes = GRPCVolumeServerPeer(pair.address, channels: pair.channels)
        let reply = try await remote.report(report([]), from: volumes)
        #expect(reply.volumeSizeLimit == 9 && reply.masters == [pair.address.http])
        #expect(try await remote.locations(of: 7) == ["10.0.0.9:8080"])
        #expect(try await remote.locations(of: 8).isEmpty)
        await remote.disconnected("uuid-1")
        // a follower knows as well
        #expect(try await remote.locations(of: 7) == ["10.0.0.9:8080"])

        let nowhere = PeerAddress(host: "127.0.0.1", port: 1, grpcPort: 1)
        let lost = RemoteMaster(
            HeartbeatConfiguration(masters: [nowhere]), channels: pair.channels,
            logger: Quiet.logger)
        let error = await #expect(throws: PeerError.self) {
            try await lost.report(report([]), from: volumes)
        }
        #expect(error?.kind == .unreachable)
        #expect(error?.description.contains("127.0.0.1:1") == true)
        await #expect(throws: PeerError.self) { try await lost.locations(of: 7) }
        await lost.disconnected("uuid-1")
        await pair.end()
    }
}
