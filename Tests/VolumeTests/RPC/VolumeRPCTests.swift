import GRPCCore
import Logging
import Model
import NIOPosix
import Needles
import RPC
import SwiftProtobuf
import Synchronization
import Testing
import Wire
import WireMessages

@testable import Volume

@Suite(.timeLimit(.minutes(2))) struct VolumeRPCTests {
    typealias Client = VolumeServerPb_VolumeServer.Client<HTTP2Transport>

    /// A volume server with volume 3, its gRPC port, and a connection.
    struct Remote {
        let fixture: ServiceFixture
        let channels: PeerChannels
        let address: PeerAddress
        var peer: GRPCVolumeServerPeer { GRPCVolumeServerPeer(address, channels: channels) }

        func call<R: Sendable>(
            _ body: @Sendable (Client, CallOptions) async throws -> R
        ) async throws -> R {
            try await channels.call(address, timeout: .seconds(30)) {
                try await body(Client(wrapping: $0), $1)
            }
        }

        /// The status of a call that fails.
        func status<R: Sendable>(
            _ body: @escaping @Sendable (Client, CallOptions) async throws -> R
        ) async -> RPCError? {
            await #expect(throws: PeerError.self) {
                try await channels.call(address, timeout: .seconds(30)) { client, options in
                    do {
                        _ = try await body(Client(wrapping: client), options)
                    } catch let error as RPCError {
                        throw PeerError(.failed, "\(error.code.rawValue)|\(error.message)")
                    }
                }
            }.flatMap { error in
                let parts = error.description.split(separator: "|", maxSplits: 1)
                guard parts.count == 2, let code = parts.first.flatMap({ Int($0) }),
                    let status = Status.Code(rawValue: code), let code = RPCError.Code(status)
                else { return nil }
                return RPCError(code: code, message: String(parts[1]))
            }
        }
    }

    static func run(
        announce: VolumeRPCService.Announcement? = nil, _ body: (Remote) async throws -> Void
    ) async throws {
        try await ServiceFixture.run { fixture in
            let channels = PeerChannels(group: MultiThreadedEventLoopGroup.singleton)
            var logger = Logger(label: "test")
            logger.logLevel = .critical
            let server = try await RPCServer.start(
                host: "127.0.0.1", port: 0,
                services: [
                    VolumeRPCService(
                        service: fixture.service, channels: channels, announce: announce)
                ], group: .singleton, logger: logger)
            let address = PeerAddress(host: "127.0.0.1", port: 8080, grpcPort: server.port)
            let result: Result<Void, any Error>
            do {
                result = .success(
                    try await body(
                        Remote(fixture: fixture, channels: channels, address: address)))
            } catch {
                result = .failure(error)
            }
            await channels.close()
            await server.shutdown(grace: .seconds(1))
            try result.get()
        }
    }

    @Test("What a master asks over the wire is done to the volumes")
    func peer() async throws {
        try await VolumeRPCTests.run { remote in
            let store = remote.fixture.service.store
            try await remote.peer.allocateVolume(
                AllocateVolume(
                    id: 5, collection: "pics", replication: try ReplicaPlacement(parsing: "010"),
                    ttl: try TimeToLive(parsing: "5d")))
            let info = try #require(store.volume(5)).info
            #expect(info.collection == "pics" && "\(info.replication)" == "010")
            #expect("\(info.ttl)" == "5d")

            let stored = try await remote.fixture.post("/3,01aabbccdd", [1, 2, 3, 4])
            #expect(stored.status == 201)
            #expect(try await remote.peer.vacuumCheck(3) == 0)
            #expect(try await remote.fixture.send("DELETE", "/3,01aabbccdd").status == 202)
            #expect(try await remote.peer.vacuumCheck(3) > 0)
            try await remote.peer.vacuumCompact(3)
            let (isReadOnly, size) = try await remote.peer.vacuumCommit(3)
            #expect(!isReadOnly && size == 8)
            try await remote.peer.vacuumCompact(3)
            try await remote.peer.vacuumCleanup(3)

            try await remote.peer.deleteVolume(3)
            #expect(store.volume(3) == nil)
            try await remote.peer.deleteCollection("unknown")
            try await remote.peer.deleteCollection("pics")
            #expect(store.volumes.isEmpty)
            let gone = await #expect(throws: PeerError.self) {
                try await remote.peer.deleteVolume(3)
            }
            #expect(gone?.kind == .notFound)
        }
    }

    @Test("Refusals have the original's codes and texts")
    func refusals() async throws {
        try await VolumeRPCTests.run { remote in
            let exists = await remote.status {
                try await $0.allocateVolume(.with { $0.volumeID = 3 }, options: $1)
            }
            #expect(exists?.code == .unknown && exists?.message == "Volume Id 3 already exists!")
            let bad = await remote.status {
                try await $0.allocateVolume(
                    .with {
                        $0.volumeID = 9
                        $0.replication = "9x9"
                    }, options: $1)
            }
            #expect(bad?.message == "unexpected replication type: 9x9")
            let version = await remote.status {
                try await $0.allocateVolume(
                    .with {
                        $0.volumeID = 9
                        $0.version = 2
                    }, options: $1)
            }
            #expect(version?.code == .invalidArgument)
            let disk = await remote.status {
                try await $0.allocateVolume(
                    .with {
                        $0.volumeID = 9
                        $0.diskType = "ssd"
                    }, options: $1)
            }
            #expect(disk?.code == .unknown && disk?.message.contains("ssd") == true)
            let missing = await remote.status {
                try await $0.volumeDelete(.with { $0.volumeID = 999 }, options: $1)
            }
            #expect(missing?.code == .notFound)
            #expect(missing?.message.hasPrefix("delete volume 999 not found on disk") == true)
            let status = await remote.status {
                try await $0.volumeStatus(.with { $0.volumeID = 999 }, options: $1)
            }
            #expect(status?.code == .unknown && status?.message == "not found volume id 999")
            let check = await remote.status {
                try await $0.vacuumVolumeCheck(.with { $0.volumeID = 999 }, options: $1)
            }
            #expect(check?.code == .notFound)
            let file = await remote.status {
                try await $0.readVolumeFileStatus(.with { $0.volumeID = 999 }, options: $1)
            }
            #expect(file?.code == .notFound)
            let lacked = await remote.status { try await $0.scrubVolume(.init(), options: $1) }
            #expect(lacked?.code == .unimplemented)
            #expect(lacked?.message.contains("ScrubVolume") == true)
            let uncommitted = await remote.status {
                try await $0.vacuumVolumeCommit(.with { $0.volumeID = 3 }, options: $1)
            }
            #expect(uncommitted != nil)
        }
    }

    @Test("Only an empty volume is deleted when only an empty one may be")
    func onlyEmpty() async throws {
        try await VolumeRPCTests.run { remote in
            _ = try await remote.fixture.post("/3,01aabbccdd", [1])
            let request = VolumeServerPb_VolumeDeleteRequest.with {
                $0.volumeID = 3
                $0.onlyEmpty = true
            }
            let refused = await remote.status { try await $0.volumeDelete(request, options: $1) }
            #expect(refused?.code == .failedPrecondition)
            #expect(refused?.message.contains("volume not empty") == true)
            _ = try await remote.fixture.send("DELETE", "/3,01aabbccdd")
            try await remote.call { _ = try await $0.volumeDelete(request, options: $1) }
            #expect(remote.fixture.service.store.volume(3) == nil)
        }
    }

    @Test("A batch of deletes tells of each what came of it")
    func batchDelete() async throws {
        try await VolumeRPCTests.run { remote in
            for key in 1...300 {
                let fid = "3,\(String(key, radix: 16))aabbccdd"
                #expect(try await remote.fixture.post("/\(fid)", [UInt8(key & 255)]).status == 201)
            }
            let ids = (1...298).map { "3,\(String($0, radix: 16))aabbccdd" }
            let many = try await remote.call {
                try await $0.batchDelete(.with { $0.fileIds = ids }, options: $1)
            }
            #expect(many.results.map(\.fileID) == ids)
            #expect(many.results.allSatisfy { $0.status == 202 && $0.size > 0 && $0.error.isEmpty })

            let odd = ["3,1aabbccdd", "3,12baabbccdd0", "zz", "9,01aabbccdd", "3,12b00000000"]
            let checked = try await remote.call {
                try await $0.batchDelete(.with { $0.fileIds = odd }, options: $1)
            }
            #expect(checked.results.map(\.status) == [404, 404, 400, 404, 400])
            #expect(checked.results.dropFirst().allSatisfy { !$0.error.isEmpty })
            let unchecked = try await remote.call {
                try await $0.batchDelete(
                    .with {
                        $0.fileIds = ["3,1aabbccdd", "3,12b00000000"]
                        $0.skipCookieCheck = true
                    }, options: $1)
            }
            #expect(unchecked.results.map(\.status) == [304, 202])
            #expect(try await remote.fixture.send("GET", "/3,12baabbccdd").status == 404)
            #expect(try await remote.fixture.send("GET", "/3,12caabbccdd").status == 200)

            _ = try await remote.fixture.post(
                "/3,500aabbccdd?cm=true", Array(#"{"chunks":[]}"#.utf8))
            let manifest = try await remote.call {
                try await $0.batchDelete(.with { $0.fileIds = ["3,500aabbccdd"] }, options: $1)
            }
            #expect(manifest.results.map(\.status) == [406])
        }
    }

    @Test("A record is read as it lies on disk; other offsets are refused")
    func blob() async throws {
        try await VolumeRPCTests.run { remote in
            let data = [UInt8](repeating: 7, count: 1000)
            _ = try await remote.fixture.post("/3,01aabbccdd", data)
            let volume = try #require(remote.fixture.service.store.volume(3))
            let size = try #require(try volume.cookie(of: 1)).size
            let blob = try await remote.call {
                try await $0.readNeedleBlob(
                    .with {
                        $0.volumeID = 3
                        $0.offset = 8
                        $0.size = Int32(size)
                    }, options: $1)
            }.needleBlob
            #expect(Array(blob.prefix(4)) == [0xaa, 0xbb, 0xcc, 0xdd])
            #expect(blob.count % 8 == 0 && blob.count == Int(volume.info.size) - 8)
            for (offset, size) in [(16, Int32(size)), (8, 3), (-8, 3), (8, -1), (1 << 40, 9)] {
                let error = await remote.status {
                    try await $0.readNeedleBlob(
                        .with {
                            $0.volumeID = 3
                            $0.offset = Int64(offset)
                            $0.size = size
                        }, options: $1)
                }
                #expect(error != nil, "\(offset), \(size)")
            }
        }
    }

    @Test("Marking a volume tells the master before and after, and refuses writes meanwhile")
    func marks() async throws {
        let marks = Mutex<[VolumeMark]>([])
        try await VolumeRPCTests.run { mark in
            marks.withLock { $0.append(mark) }
        } _: { remote in
            try await remote.call {
                _ = try await $0.volumeMarkReadonly(.with { $0.volumeID = 3 }, options: $1)
            }
            #expect(marks.withLock { $0.map(\.isReadOnly) } == [true, true])
            #expect(marks.withLock { $0.map(\.volume.isReadOnly) } == [false, true])
            #expect(try await remote.fixture.post("/3,01aabbccdd", [1]).status == 500)
            let status = try await remote.call {
                try await $0.volumeStatus(.with { $0.volumeID = 3 }, options: $1)
            }
            #expect(status.isReadOnly)
            try await remote.call {
                _ = try await $0.volumeMarkWritable(.with { $0.volumeID = 3 }, options: $1)
            }
            #expect(try await remote.fixture.post("/3,01aabbccdd", [1]).status == 201)
            let missing = await remote.status {
                try await $0.volumeMarkReadonly(.with { $0.volumeID = 8 }, options: $1)
            }
            #expect(missing?.message == "volume 8 not found")
        }
    }

    @Test("Status and pings")
    func statusAndPings() async throws {
        try await VolumeRPCTests.run { remote in
            let status = try await remote.call {
                try await $0.volumeServerStatus(.init(), options: $1)
            }
            #expect(status.diskStatuses.count == 1 && status.diskStatuses[0].all > 0)
            #expect(!status.version.isEmpty)
            let own = try await remote.call { try await $0.ping(.init(), options: $1) }
            #expect(own.startTimeNs > 0 && own.stopTimeNs >= own.startTimeNs)
            let target = remote.address.long
            let other = try await remote.call {
                try await $0.ping(
                    .with {
                        $0.target = target
                        $0.targetType = "volumeServer"
                    }, options: $1)
            }
            #expect(other.remoteTimeNs >= other.startTimeNs)
            let unknown = await remote.status {
                try await $0.ping(
                    .with {
                        $0.target = target
                        $0.targetType = "toaster"
                    }, options: $1)
            }
            #expect(unknown?.code == .invalidArgument)
            #expect(unknown?.message.hasPrefix("unknown ping target") == true)
        }
    }
}
