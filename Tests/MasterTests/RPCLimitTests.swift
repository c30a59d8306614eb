import GRPCCore
import Model
import RPC
import SwiftProtobuf
import Synchronization
import Testing
import Wire
import WireMessages

@testable import Master

extension RPCTests {
    @Test func oversizedMessagesAreRefusedAndOthersGoOn() async throws {
        let server = FakeServer("127.0.0.1:8081")
        server.add(VolumeInfo(id: 3))
        try await withMaster([server]) { core, channels, address in
            _ = try await connected(server, channels, address) { _ in
                let volume = MasterPb_VolumeInformationMessage.with {
                    $0.id = 9
                    $0.collection = String(
                        repeating: "x", count: RPCSettings.heartbeatBytes + 1)
                }
                var message = full(FakeServer("127.0.0.1:8082"))
                message.volumes = [volume]
                let sent = message
                do {
                    try await channels.stream(address) { client, options in
                        try await Client(wrapping: client).sendHeartbeat(
                            options: options,
                            requestProducer: { try await $0.write(sent) },
                            onResponse: { for try await _ in $0.messages {} })
                    }
                    Issue.record("a message above the limit was taken")
                } catch let error as PeerError {
                    print("an oversized heartbeat was refused: \(error)")
                }
                #expect(core.topology.servers.count == 1)
                let given = try await call(channels, address) { client, options in
                    try await client.assign(.init(), options: options)
                }
                #expect(given.fid.hasPrefix("3,"))
            }
            try await settled(core) { $0.servers.isEmpty }
        }
    }

    @Test func tooManyStreamsAreRefused() async throws {
        try await withMaster { core, channels, address in
            core.shared.withLock { $0.openStreams = MasterCore.streamLimit }
            await #expect(throws: PeerError.self) {
                try await channels.stream(address) { client, options in
                    try await Client(wrapping: client).keepConnected(
                        options: options, requestProducer: { try await $0.write(.init()) },
                        onResponse: { for try await _ in $0.messages {} })
                }
            }
            #expect(core.shared.withLock { $0.openStreams } == MasterCore.streamLimit)
            core.shared.withLock { $0.openStreams = 0 }
        }
    }

    @Test func everyMasterTellsItsClusterAndLeader() async throws {
        try await withMaster { core, channels, address in
            let answer = try await call(channels, address) { client, options in
                try await client.getMasterConfiguration(.init(), options: options)
            }
            #expect(answer.leader == "127.0.0.1:9333.\(address.grpcPort)")
            #expect(answer.masters == [answer.leader] && answer.topologyID == "a-topology")
            #expect(answer.volumeSizeLimitMB == 1 && answer.defaultReplication.isEmpty)
        }
    }
}
