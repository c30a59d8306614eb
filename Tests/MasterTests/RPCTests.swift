import GRPCCore
import Model
import NIOPosix
import RPC
import SwiftProtobuf
import Synchronization
import Testing
import Wire
import WireMessages

@testable import Master

/// The master's gRPC service over real connections.
@Suite struct RPCTests {
    typealias Client = MasterPb_Seaweed.Client<HTTP2Transport>

    /// Runs `body` with the core of a master that serves gRPC and a way to call it; volume servers
    /// are those of the test, by address.
    func withMaster(
        _ servers: [FakeServer] = [],
        _ body: @Sendable (MasterCore, PeerChannels, PeerAddress) async throws -> Void
    ) async throws {
        let group = MultiThreadedEventLoopGroup.singleton
        let core = try await makeCore()
        let byURL = Dictionary(uniqueKeysWithValues: servers.map { ($0.url, $0) })
        let source = PeerSource(
            volumeServer: { byURL[$0.http] ?? FakeServer($0.http) }, ping: { _, _ in 77 })
        let server = try await RPCServer.start(
            host: "127.0.0.1", port: 0, services: [MasterRPC(core: core, peers: source)],
            group: group, maxRequestBytes: RPCSettings.heartbeatBytes, logger: silent)
        core.bound(port: 9333, grpcPort: server.port)
        let channels = PeerChannels(group: group)
        let address = PeerAddress(host: "127.0.0.1", port: 9333, grpcPort: server.port)
        let result: Result<Void, any Error>
        do {
            result = .success(try await body(core, channels, address))
        } catch {
            result = .failure(error)
        }
        core.shared.withLock { $0.watchers.leaveAll() }
        await channels.close()
        await server.shutdown(grace: .seconds(1))
        try result.get()
    }

    func call<R: Sendable>(
        _ channels: PeerChannels, _ address: PeerAddress,
        _ body: @Sendable (Client, CallOptions) async throws -> R
    ) async throws -> R {
        try await channels.call(address, timeout: .seconds(20)) { client, options in
            try await body(Client(wrapping: client), options)
        }
    }

    func full(_ server: FakeServer) -> MasterPb_Heartbeat {
        let report = server.report
        let port = UInt32(server.url.split(separator: ":").last ?? "") ?? 0
        return .with {
            $0.ip = "127.0.0.1"
            $0.port = port
            $0.grpcPort = port + 10_000
            $0.maxVolumeCounts = ["": 8]
            $0.volumes = report.volumes.map(\.message)
            $0.hasNoVolumes_p = report.volumes.isEmpty
            $0.locationUuids = ["dir-of-\(server.url)"]
        }
    }

    /// Keeps a heartbeat stream open while `body` runs; the answers go to `answered`.
    func connected(
        _ server: FakeServer, _ channels: PeerChannels, _ address: PeerAddress,
        _ body:
            @escaping @Sendable (AsyncStream<MasterPb_Heartbeat>.Continuation) async throws ->
            Void
    ) async throws -> MasterPb_HeartbeatResponse {
        let (messages, send) = AsyncStream.makeStream(of: MasterPb_Heartbeat.self)
        send.yield(full(server))
        return try await channels.stream(address) { client, options in
            try await Client(wrapping: client).sendHeartbeat(
                options: options,
                requestProducer: { writer in
                    for await message in messages { try await writer.write(message) }
                },
                onResponse: { response in
                    var answers = response.messages.makeAsyncIterator()
                    guard let first = try await answers.next() else {
                        throw PeerError(.failed, "no answer")
                    }
                    try await body(send)
                    send.finish()
                    while try await answers.next() != nil {}
                    return first
                })
        }
    }

    func settled(_ core: MasterCore, _ isSettled: (Topology) -> Bool) async throws {
        for _ in 0..<2000 where !isSettled(core.topology) {
            try await Task.sleep(for: .milliseconds(5))
        }
        #expect(isSettled(core.topology))
    }

    @Test func aVolumeServerJoinsIsWrittenToAndGoes() async throws {
        let server = FakeServer("127.0.0.1:8081")
        server.add(VolumeInfo(id: 3))
        try await withMaster([server]) { core, channels, address in
            let answer = try await connected(server, channels, address) { send in
                let given = try await call(channels, address) { client, options in
                    try await client.assign(.with { $0.count = 3 }, options: options)
                }
                #expect(given.location.url == "127.0.0.1:8081" && given.count == 3)
                #expect(given.location.grpcPort == 18081)
                #expect(given.fid.hasPrefix("3,01") && given.replicas.isEmpty)
                let found = try await call(channels, address) { client, options in
                    try await client.lookupVolume(
                        .with { $0.volumeOrFileIds = [given.fid, "7", "x"] }, options: options)
                }.volumeIDLocations
                #expect(found.map(\.volumeOrFileID) == ["3", "7", "x"])
                #expect(found[0].locations.map(\.url) == ["127.0.0.1:8081"])
                #expect(
                    found.map(\.error) == ["", "volume id 7 not found", "unknown volume id x"])
                send.yield(.with { $0.deletedVolumes = [.with { $0.id = 3 }] })
                try await settled(core) { $0.volumes.isEmpty }
                // Growth asks the server over its own connection.
                let grown = try await call(channels, address) { client, options in
                    try await client.assign(.init(), options: options)
                }
                #expect(
                    server.report.volumes.map { "\($0.id)" }.contains { grown.fid.hasPrefix($0) })
            }
            #expect(answer.volumeSizeLimit == 1 << 20)
            #expect(answer.topologyID == "a-topology")
            #expect(answer.masters == ["127.0.0.1:9333.\(address.grpcPort)"])
            #expect(answer.leader == answer.masters.first)
            try await settled(core) { $0.servers.isEmpty }
        }
    }

    @Test func directoriesServedTwiceAreNamedAndTheStreamEnds() async throws {
        let server = FakeServer("127.0.0.1:8081")
        try await withMaster([server]) { core, channels, address in
            _ = try await connected(server, channels, address) { _ in
                let copy = FakeServer("127.0.0.1:8082")
                var message = full(copy)
                message.locationUuids = ["dir-of-127.0.0.1:8081"]
                let sent = message
                let duplicates = Mutex<[String]>([])
                await #expect(throws: PeerError.self) {
                    try await channels.stream(address) { client, options in
                        try await Client(wrapping: client).sendHeartbeat(
                            options: options,
                            requestProducer: { try await $0.write(sent) },
                            onResponse: { response in
                                for try await answer in response.messages {
                                    duplicates.withLock { $0 += answer.duplicatedUuids }
                                }
                            })
                    }
                }
                #expect(duplicates.withLock { $0 } == ["dir-of-127.0.0.1:8081"])
                #expect(core.topology.servers.count == 1)
            }
        }
    }

    @Test func refusalsHaveTheStatusThatHelps() async throws {
        try await withMaster { core, channels, address in
            func failure(_ request: MasterPb_AssignRequest) async -> RPCError? {
                let caught = Mutex<RPCError?>(nil)
                _ = try? await call(channels, address) { client, options in
                    do {
                        _ = try await client.assign(request, options: options)
                    } catch let error as RPCError {
                        caught.withLock { $0 = error }
                    }
                }
                return caught.withLock { $0 }
            }
            let none = await failure(.init())
            #expect(none?.code == .resourceExhausted)
            #expect(none?.message.hasPrefix("no volume server capacity registered yet") == true)
            let bad = await failure(.with { $0.replication = "9x9" })
            #expect(bad?.code == .unknown)
            #expect(bad?.message == "unexpected replication type: 9x9")
            let nowhere = await failure(.with { $0.dataCenter = "zz" })
            #expect(nowhere?.message == "data center zz not found in topology")
            #expect(await failure(.with { $0.count = .max })?.code == .unknown)
            let full = FakeServer("127.0.0.1:8081", slots: ["": 0])
            _ = try await core.report(full.report, from: full)
            let noRoom = await failure(.init())
            #expect(noRoom?.code == .unknown)
            #expect(noRoom?.message.contains("127.0.0.1:8081 has no hdd disk") == true)
        }
    }

    @Test func clientsThatStayConnectedHearOfVolumesAndFilers() async throws {
        let server = FakeServer("127.0.0.1:8081")
        try await withMaster([server]) { core, channels, address in
            let (news, tell) = AsyncStream.makeStream(of: MasterPb_KeepConnectedResponse.self)
            let client = Task {
                try await channels.stream(address) { client, options in
                    try await Client(wrapping: client).keepConnected(
                        options: options,
                        requestProducer: { writer in
                            try await writer.write(
                                .with {
                                    $0.clientType = "s3"
                                    $0.clientAddress = "127.0.0.1:1"
                                })
                            try await Task.sleep(for: .seconds(100))
                        },
                        onResponse: { for try await one in $0.messages { tell.yield(one) } })
                }
            }
            var heard = news.makeAsyncIterator()
            let first = try #require(await heard.next())
            #expect(first.volumeLocation.leader == "127.0.0.1:9333.\(address.grpcPort)")
            _ = try await core.report(server.report, from: server)
            let given = try await core.assign(wish())
            var next = await heard.next()
            // The client hears of itself, too.
            while let one = next, one.hasClusterNodeUpdate { next = await heard.next() }
            let volume = try #require(next).volumeLocation
            #expect(volume.url == "127.0.0.1:8081" && volume.newVids.count == 1)
            #expect(VolumeID(1)...7 ~= given.fid.volume)
            let filer = try #require(
                core.watch(ClientIdentity(type: "filer", address: "127.0.0.1:8888.18888")))
            var isAnnounced = false
            while let next = await heard.next() {
                if next.hasClusterNodeUpdate {
                    isAnnounced = next.clusterNodeUpdate.isAdd
                    #expect(next.clusterNodeUpdate.address == "127.0.0.1:8888.18888")
                }
                if next.hasLockRingUpdate {
                    #expect(next.lockRingUpdate.servers == ["127.0.0.1:8888.18888"])
                    break
                }
            }
            #expect(isAnnounced)
            let nodes = try await call(channels, address) { client, options in
                try await client.listClusterNodes(
                    .with { $0.clientType = "filer" }, options: options)
            }
            #expect(nodes.clusterNodes.map(\.address) == ["127.0.0.1:8888.18888"])
            core.unwatch(filer.number)
            client.cancel()
            _ = try? await client.value
            for _ in 0..<2000 where core.shared.withLock({ $0.watchers.count > 0 }) {
                try await Task.sleep(for: .milliseconds(5))
            }
            #expect(core.shared.withLock { $0.watchers.count } == 0)
        }
    }

    @Test func collectionsStatisticsAndListings() async throws {
        let server = FakeServer("127.0.0.1:8081", slots: ["": 8, "ssd": 2])
        server.add(VolumeInfo(id: 1, size: 1000, fileCount: 5, deleteCount: 1))
        server.add(VolumeInfo(id: 2, collection: "pics", size: 500, readOnlyReason: "x"))
        try await withMaster([server]) { core, channels, address in
            _ = try await core.report(server.report, from: server)
            let names = try await call(channels, address) { client, options in
                try await client.collectionList(
                    .with { $0.includeNormalVolumes = true }, options: options)
            }
            #expect(names.collections.map(\.name) == ["", "pics"])
            let all = try await call(channels, address) { client, options in
                try await client.statistics(.init(), options: options)
            }
            #expect(all.totalSize == 10 << 20 && all.usedSize == 1500 && all.fileCount == 4)
            #expect(all.logicalUsedSize == 1500 && all.logicalTotalSize == 1500 + 8 << 20)
            let list = try await call(channels, address) { client, options in
                try await client.volumeList(.with { $0.collection = "pics" }, options: options)
            }
            let node = try #require(
                list.topologyInfo.dataCenterInfos.first?.rackInfos.first?.dataNodeInfos.first)
            let disk = try #require(node.diskInfos[""])
            #expect(disk.volumeCount == 2 && disk.maxVolumeCount == 8)
            #expect(disk.freeVolumeCount == 6 && disk.activeVolumeCount == 1)
            #expect(disk.volumeInfos.map(\.id) == [2])
            #expect(list.topologyInfo.diskInfos["ssd"]?.freeVolumeCount == 2)
            #expect(list.volumeSizeLimitMb == 1)
            _ = try await call(channels, address) { client, options in
                try await client.collectionDelete(.with { $0.name = "pics" }, options: options)
            }
            #expect(server.calls == ["deleteCollection pics"])
            #expect(core.topology.volumes.keys.sorted() == [1])
            await #expect(throws: PeerError.self) {
                try await call(channels, address) { client, options in
                    try await client.collectionDelete(.init(), options: options)
                }
            }
        }
    }

    @Test func aVolumeServerTellsThatItsCopyIsReadOnly() async throws {
        let server = FakeServer("127.0.0.1:8081")
        server.add(VolumeInfo(id: 1))
        try await withMaster([server]) { core, channels, address in
            _ = try await core.report(server.report, from: server)
            func mark(_ isReadOnly: Bool, port: UInt32 = 8081) async throws {
                _ = try await call(channels, address) { client, options in
                    try await client.volumeMarkReadonly(
                        .with {
                            $0.ip = "127.0.0.1"
                            $0.port = port
                            $0.volumeID = 1
                            $0.isReadonly = isReadOnly
                        }, options: options)
                }
            }
            try await mark(true)
            #expect(core.assignNow(try wish()) == nil)
            try await mark(false)
            #expect(core.assignNow(try wish()) != nil)
            await #expect(throws: PeerError.self) { try await mark(true, port: 8099) }
        }
    }

    @Test func locksArePassedOnWithTheirText() async throws {
        try await withMaster { _, channels, address in
            func lease(_ name: String) async throws -> MasterPb_LeaseAdminTokenResponse {
                try await call(channels, address) { client, options in
                    try await client.leaseAdminToken(
                        .with {
                            $0.lockName = "shell"
                            $0.clientName = name
                            $0.message = "moving"
                        }, options: options)
                }
            }
            let held = try await lease("one")
            #expect(held.token != 0 && held.lockTsNs > 0)
            do {
                _ = try await lease("two")
                Issue.record("a lock was given twice")
            } catch let error as PeerError {
                #expect(error.description.hasSuffix("already locked by one: moving"))
            }
        }
    }
}
