import GRPCCore
import Model
import NIOPosix
import RPC
import SwiftProtobuf
import TestSupport
import Testing
import Wire
import WireMessages

/// A volume server and a master of the Go original, called by us.
@Suite(.serialized, .timeLimit(.minutes(3))) struct GoVolumeServerTests {
    @Test("Our calls do to its volumes what they say")
    func calls() async throws {
        guard let program = GoOriginal.path(neededFor: "calls of a Go volume server") else {
            return
        }
        let directory = try TemporaryDirectory("go-server")
        let go = try await onThread {
            var configuration = ServerProcess.Configuration(directory: directory.path)
            configuration.program = .goOriginal(program)
            configuration.maxVolumes = 20
            return try ServerProcess(configuration)
        }
        defer { go.kill() }
        let channels = PeerChannels(group: Quiet.group)
        let peer = GRPCVolumeServerPeer(
            PeerAddress(host: "127.0.0.1", port: go.volumePort), channels: channels)
        for id in 901...903 as ClosedRange<UInt32> {
            try await peer.allocateVolume(
                AllocateVolume(id: id, collection: "ours", ttl: try TimeToLive(parsing: "5d")))
        }
        let exists = await #expect(throws: PeerError.self) {
            try await peer.allocateVolume(AllocateVolume(id: 901))
        }
        #expect(exists?.description.contains("already exists") == true)
        #expect(try await peer.vacuumCheck(901) == 0)
        try await peer.vacuumCompact(901)
        let (isReadOnly, size) = try await peer.vacuumCommit(901)
        #expect(!isReadOnly && size == 8)
        try await peer.vacuumCompact(902)
        try await peer.vacuumCleanup(902)
        try await peer.deleteVolume(901)
        let missing = await #expect(throws: PeerError.self) { try await peer.deleteVolume(901) }
        #expect(missing?.kind == .notFound)
        let unknown = await #expect(throws: PeerError.self) { try await peer.vacuumCheck(999) }
        #expect(unknown?.kind == .notFound)
        try await peer.deleteCollection("ours")
        try await peer.deleteCollection("unknown")

        try await answers(channels, PeerAddress(host: "127.0.0.1", port: go.masterPort))
        await channels.close()
    }

    /// Its answers hold no field that we do not know.
    private func answers(_ channels: PeerChannels, _ master: PeerAddress) async throws {
        let (configuration, list) = try await channels.call(master, timeout: .seconds(20)) {
            let client = MasterPb_Seaweed.Client(wrapping: $0)
            let assigned = try await client.assign(.with { $0.count = 3 }, options: $1)
            #expect(assigned.count == 3 && assigned.error.isEmpty && assigned.hasLocation)
            #expect(assigned.unknownFields.data.isEmpty)
            return (
                try await client.getMasterConfiguration(.init(), options: $1),
                try await client.volumeList(.init(), options: $1)
            )
        }
        #expect(PeerAddress(configuration.leader) == master)
        #expect(configuration.volumeSizeLimitMB == 30_720)
        #expect(configuration.unknownFields.data.isEmpty && list.unknownFields.data.isEmpty)
        let node = try #require(
            list.topologyInfo.dataCenterInfos.first?.rackInfos.first?.dataNodeInfos.first)
        #expect(node.unknownFields.data.isEmpty)
        let volumes = node.diskInfos.values.flatMap(\.volumeInfos)
        #expect(!volumes.isEmpty && volumes.allSatisfy(\.unknownFields.data.isEmpty))
        #expect(volumes.allSatisfy { VolumeInfo($0).version == 3 })
    }
}
