import Foundation
import Model
import NIOCore
import NIOPosix
import Synchronization
import Testing
import Wire

@testable import Volume

@Suite struct ServiceTests {
    @Test func fixedPaths() async throws {
        try await ServiceFixture.run { server async throws in
            #expect(try await server.send("GET", "/healthz").status == 200)
            #expect(try await server.send("HEAD", "/readyz").status == 200)
            #expect(try await server.send("GET", "/favicon.ico").status == 204)
            let page = try await server.send("GET", "/ui/index.html")
            #expect(page["content-type"] == "text/html; charset=utf-8")
            #expect(page.text.contains("<td>3<td>"))
            for path in ["/", "/38", "/nothing", "/3,12", "/3/01637037d6/a/b"] {
                let answer = try await server.send("GET", path)
                #expect(answer.status == 400, "\(path)")
                #expect(answer.body.isEmpty, "\(path)")
            }
            let moved = try await server.send("GET", "/3//01637037d6?dl=1")
            #expect(moved.status == 307)
            #expect(moved["location"] == "/3/01637037d6?dl=1")
        }
    }

    @Test func status() async throws {
        try await ServiceFixture.run(ttl: TimeToLive(minutes: 180)) { server async throws in
            _ = try await server.post("/3,01637037d6", [1, 2, 3])
            let answer = try await server.send("GET", "/status")
            let json = try JSONSerialization.jsonObject(with: Data(answer.body)) as? [String: Any]
            #expect(json?.keys.sorted() == ["DiskStatuses", "Version", "Volumes"])
            let volume = try #require((json?["Volumes"] as? [[String: Any]])?.first)
            #expect(volume["Id"] as? Int == 3)
            #expect(volume["FileCount"] as? Int == 1)
            #expect(volume["Ttl"] as? [String: Int] == ["Count": 3, "Unit": 2])
            #expect(volume["Version"] as? Int == 3)
            #expect(volume["ReadOnly"] as? Bool == false)
            #expect(volume.count == 16)
            let disk = try #require((json?["DiskStatuses"] as? [[String: Any]])?.first)
            #expect(disk["dir"] as? String == server.directory)
            #expect(disk.count == 6)
        }
    }

    @Test func crossOrigin() async throws {
        try await ServiceFixture.run { server async throws in
            let options = try await server.send(
                "OPTIONS", "/3,01637037d6", [("Origin", "http://a")])
            #expect(options.status == 200)
            #expect(options["access-control-allow-methods"] == "PUT, POST, GET, DELETE, OPTIONS")
            #expect(options["access-control-allow-headers"] == "*")
            #expect(options["access-control-allow-origin"] == "*")
            #expect(options["access-control-allow-credentials"] == "true")
            let plain = try await server.send("DELETE", "/3,01637037d6")
            #expect(plain["access-control-allow-origin"] == nil)
        }
    }

    @Test func publicPortOnlyReads() async throws {
        try await ServiceFixture.run({ $0.publicPort = 0 }) { server async throws in
            _ = try await server.post("/3,01637037d6", [65])
            let port = Int(server.service.publicURL.split(separator: ":").last ?? "") ?? 0
            #expect(port != server.service.port)
            for (method, status) in [("GET", 200), ("POST", 405), ("PUT", 405), ("DELETE", 405)] {
                let connection = try await TestConnection(port: port, group: server.group)
                let head = "\(method) /3,01637037d6 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                try await connection.send(Array("\(head)Content-Length: 0\r\n\r\n".utf8))
                #expect(try await connection.answer().status == status, "\(method)")
            }
            #expect(try await server.send("GET", "/3,01637037d6").status == 200)
        }
    }

    @Test func reportsAtStartOnChangeAndAtTheEnd() async throws {
        let master = RecordingMaster()
        let id = Mutex("")
        try await ServiceFixture.run({ $0.rack = "r1" }, master: master) { server async throws in
            let report = await master.report { $0.volumes.map(\.id) == [3] }
            #expect(report?.url == server.service.url)
            #expect(report?.grpcPort == server.service.port + 10_000)
            #expect(report?.rack == "r1")
            #expect(report?.maxVolumes.values.reduce(0, +) == 8)
            id.withLock { $0 = report?.id ?? "" }
            try await VolumePeer(service: server.service).allocateVolume(AllocateVolume(id: 4))
            #expect(await master.report { $0.volumes.map(\.id) == [3, 4] } != nil)
            try await VolumePeer(service: server.service).deleteVolume(3)
            #expect(await master.report { $0.volumes.map(\.id) == [4] } != nil)
        }
        #expect(master.gone == [id.withLock { $0 }])
    }

    @Test func peerDoesWhatAMasterAsks() async throws {
        try await ServiceFixture.run { server async throws in
            let peer = VolumePeer(service: server.service)
            await #expect(throws: PeerError.self) {
                try await peer.allocateVolume(AllocateVolume(id: 3))
            }
            try await peer.allocateVolume(AllocateVolume(id: 5, collection: "pics"))
            for path in ["/3,01637037d6", "/3,02637037d6"] {
                _ = try await server.post(path, [UInt8](repeating: 9, count: 10_000))
            }
            #expect(try await peer.vacuumCheck(3) == 0)
            _ = try await server.send("DELETE", "/3,01637037d6")
            #expect(try await peer.vacuumCheck(3) > 0.4)
            try await peer.vacuumCompact(3)
            let result = try await peer.vacuumCommit(3)
            #expect(!result.isReadOnly)
            #expect(result.size < 11_000)
            #expect(try await server.send("GET", "/3,02637037d6").body.count == 10_000)
            try await peer.vacuumCleanup(3)
            try await peer.deleteCollection("pics")
            do throws(PeerError) {
                _ = try await peer.vacuumCheck(5)
                Issue.record("volume 5 is still there")
            } catch {
                #expect(error.kind == .notFound)
                #expect(error.description == "\(server.service.url): volume 5 not found")
            }
        }
    }

    @Test func expiryCountsFromTheLastWrite() {
        func volume(ttl minutes: UInt64, size: UInt64 = 100) -> VolumeInfo {
            VolumeInfo(
                id: 1, ttl: TimeToLive(minutes: minutes), size: size, modifiedAtSecond: 1_000_000)
        }
        #expect(!Expiry.isOver(volume(ttl: 3), now: 1_000_179))
        #expect(Expiry.isOver(volume(ttl: 3), now: 1_000_180))
        #expect(!Expiry.isDeletable(volume(ttl: 3), now: 1_000_197))
        #expect(Expiry.isDeletable(volume(ttl: 3), now: 1_000_198))
        // Ten minutes at most: a day would give 144.
        #expect(!Expiry.isDeletable(volume(ttl: 1440), now: 1_086_999))
        #expect(Expiry.isDeletable(volume(ttl: 1440), now: 1_087_000))
        #expect(!Expiry.isOver(volume(ttl: 3, size: 8), now: 2_000_000))
        #expect(!Expiry.isOver(volume(ttl: 0), now: 2_000_000))
    }
}

@Suite struct TargetTests {
    private func target(_ path: String) -> Target { Target(path: Array(path.utf8).span) }
    private let id = FileID(volume: 3, key: 1, cookie: 0x6370_37d6)

    @Test(arguments: [
        "/3,01637037d6", "/3,1637037D6", "/003,01637037d6.jpg", "/3%2C01637037d6",
        "/3,01637037d6.tar.gz",
    ])
    func commaForm(_ path: String) {
        // Only the last dot begins an extension.
        guard path.hasSuffix(".tar.gz") else {
            #expect(target(path) == .file(id, name: nil, isCommaForm: true))
            return
        }
        #expect(target(path) == .bad(.key("01637037d6.tar")))
    }

    @Test func slashForms() {
        #expect(target("/3/01637037d6") == .file(id, name: nil, isCommaForm: false))
        #expect(target("/3/01637037d6.png") == .file(id, name: nil, isCommaForm: false))
        #expect(target("/3/01637037d6/n.png") == .file(id, name: 14..<19, isCommaForm: false))
        let delta = FileID(volume: 3, key: 11, cookie: 0x6370_37d6)
        #expect(target("/3,01637037d6_10") == .file(delta, name: nil, isCommaForm: true))
    }

    @Test(arguments: ["", "/", "//", "/3", "/a/b/c/d", "3,01637037d6"])
    func others(_ path: String) {
        if case .file = target(path) { Issue.record("\(path) was taken for a file") }
    }
}

@Suite struct MemoryBudgetTests {
    @Test func waitersGetWhatIsGivenBackInOrder() async throws {
        let budget = MemoryBudget(bytes: 100)
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let (stream, seen) = AsyncStream.makeStream(of: Int.self)
        budget.reserve(80, on: loop) { #expect($0) }
        for index in 0..<3 {
            budget.reserve(40, on: loop) { granted in if granted { seen.yield(index) } }
        }
        #expect(budget.used == 80)
        budget.release(80)
        var order = stream.makeAsyncIterator()
        #expect(await order.next() == 0)
        #expect(await order.next() == 1)
        #expect(budget.used == 80)
        budget.release(40)
        #expect(await order.next() == 2)
        budget.release(40)
        budget.release(40)
        #expect(budget.used == 0)
    }

    @Test func moreThanEverythingCountsAsEverything() {
        let budget = MemoryBudget(bytes: 100)
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        budget.reserve(1000, on: loop) { #expect($0) }
        #expect(budget.used == 100)
        budget.release(1000)
        #expect(budget.used == 0)
    }
}
