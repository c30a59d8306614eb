import Foundation
import HTTPServer
import Logging
import Model
import NIOCore
import NIOPosix
import Needles
import Synchronization
import TestSupport
import Wire

@testable import Volume

/// A master that says what a test wants, and counts the questions.
final class ScriptedMaster: MasterPeer {
    private let state = Mutex<(locations: [VolumeID: [String]], questions: Int)>(([:], 0))
    private let delay: UInt64

    init(delayMilliseconds: UInt64 = 0) { delay = delayMilliseconds * 1_000_000 }

    var questions: Int { state.withLock { $0.questions } }

    func set(_ volume: VolumeID, _ addresses: [String]) {
        state.withLock { $0.locations[volume] = addresses }
    }

    func report(
        _ report: ServerReport, from peer: any VolumeServerPeer
    ) async throws(PeerError) -> ReportReply {
        ReportReply(volumeSizeLimit: 1 << 30, topologyID: "topology", masters: [])
    }

    func disconnected(_ serverID: String) async {}

    func locations(of volume: VolumeID) async throws(PeerError) -> [String] {
        if delay > 0 { try? await Task.sleep(nanoseconds: delay) }
        return state.withLock { state in
            state.questions += 1
            return state.locations[volume] ?? []
        }
    }
}

/// Some volume servers in one process, each with a directory of its own.
final class CopiesFixture {
    let master: ScriptedMaster
    private(set) var servers: [ServiceFixture] = []

    private init(master: ScriptedMaster) { self.master = master }

    /// Runs `body` with `count` servers without volumes, then takes everything down.
    static func run(
        _ count: Int, master: ScriptedMaster = ScriptedMaster(),
        _ change: (inout VolumeConfiguration) -> Void = { _ in },
        _ body: (CopiesFixture) async throws -> Void
    ) async throws {
        let fixture = CopiesFixture(master: master)
        do {
            for _ in 0..<count {
                let directory = "/tmp/volume-copies-\(UUID().uuidString)"
                try FileManager.default.createDirectory(
                    atPath: directory, withIntermediateDirectories: true)
                fixture.servers.append(try await fixture.start(directory, change))
            }
            try await body(fixture)
        } catch {
            await fixture.end()
            throw error
        }
        await fixture.end()
    }

    private func start(
        _ directory: String, port: Int = 0, _ change: (inout VolumeConfiguration) -> Void
    ) async throws -> ServiceFixture {
        var configuration = VolumeConfiguration(
            store: StoreConfiguration(directories: [.init(path: directory, maxVolumes: 8)]))
        // not one of the system's: a client that redials a stopped server could end up holding it
        configuration.port = port > 0 ? port : try FreePorts.pair().volume
        configuration.mendSeconds = 0.05
        change(&configuration)
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let group = MultiThreadedEventLoopGroup.singleton
        let service = try await VolumeService.start(
            configuration, group: group, master: master, logger: logger)
        return ServiceFixture(service: service, directory: directory, group: group)
    }

    private func end() async {
        for server in servers {
            await server.service.shutdown(grace: .seconds(2))
            try? FileManager.default.removeItem(atPath: server.directory)
        }
    }

    subscript(_ index: Int) -> ServiceFixture { servers[index] }

    /// Makes a volume on some servers and tells the master.
    func makeVolume(
        _ id: VolumeID, on indexes: [Int], replication: UInt8 = 1, ttl: TimeToLive = .none
    ) async throws {
        for index in indexes {
            try await VolumePeer(service: servers[index].service).allocateVolume(
                AllocateVolume(
                    id: id, replication: ReplicaPlacement(stored: replication), ttl: ttl))
        }
        master.set(id, indexes.map { servers[$0].service.url })
    }

    /// Stops a server; its directory stays.
    func stop(_ index: Int) async {
        await servers[index].service.shutdown(grace: .milliseconds(100))
    }

    /// Starts a stopped server again on its old port.
    func restart(_ index: Int, _ change: (inout VolumeConfiguration) -> Void = { _ in })
        async throws
    {
        let url = servers[index].service.url
        let port = Int(url.split(separator: ":").last ?? "") ?? 0
        var attempts = 0
        while true {
            do {
                servers[index] = try await start(servers[index].directory, port: port, change)
                return
            } catch let error as IOError where error.errnoCode == EADDRINUSE && attempts < 100 {
                // a test beside this one was given the port for a moment
                attempts += 1
                try await Task.sleep(nanoseconds: 100_000_000)
            }
        }
    }

    /// What a server has stored under an id; `nil` for nothing.
    func stored(_ index: Int, _ id: String) throws -> Copy? {
        let id = try FileID(id)
        guard let volume = servers[index].service.store.volume(id.volume),
            let needle = try volume.read(id.key, cookie: id.cookie)
        else { return nil }
        let data: ByteBuffer =
            switch needle.body {
            case .bytes(let bytes): bytes
            case .file(let file): try file.read(at: 0, count: Int(file.length))
            }
        func text(_ buffer: ByteBuffer?) -> String? { buffer.map { String(buffer: $0) } }
        return Copy(
            data: Array(data.readableBytesView), name: text(needle.name), mime: text(needle.mime),
            pairs: text(needle.pairs), lastModified: needle.lastModified, ttl: needle.ttl,
            isCompressed: needle.isCompressed, isChunkManifest: needle.isChunkManifest,
            checksum: needle.checksum, recordSize: needle.recordSize)
    }

    /// Waits until no server owes anything; `false` when that takes too long.
    func settled(_ indexes: [Int]? = nil, seconds: Int = 20) async -> Bool {
        let indexes = indexes ?? Array(servers.indices)
        for _ in 0..<seconds * 50 {
            if indexes.allSatisfy({ servers[$0].service.copies.ledger.debts.isEmpty }) {
                return true
            }
            try? await Task.sleep(nanoseconds: 20_000_000)
        }
        return false
    }

    /// Everything of a stored file but the time it was appended.
    struct Copy: Equatable {
        var data: [UInt8]
        var name: String?
        var mime: String?
        var pairs: String?
        var lastModified: UInt64?
        var ttl: TimeToLive
        var isCompressed: Bool
        var isChunkManifest: Bool
        var checksum: UInt32
        var recordSize: UInt32
    }
}

/// A server that answers as a test says.
final class FakeHolder: RequestHandler, Sendable {
    let answer: @Sendable (HTTPRequest, Exchange) -> Void
    private let seen = Mutex<[String]>([])

    init(_ answer: @escaping @Sendable (HTTPRequest, Exchange) -> Void) { self.answer = answer }

    /// Methods and paths of the requests that came.
    var requests: [String] { seen.withLock { $0 } }

    func handle(_ request: HTTPRequest, _ exchange: Exchange) {
        seen.withLock { $0.append("\(request.method) \(request.path)?\(request.rawQuery)") }
        answer(request, exchange)
    }

    /// Runs `body` with the address of such a server.
    static func run(
        _ answer: @escaping @Sendable (HTTPRequest, Exchange) -> Void,
        _ body: (String, FakeHolder) async throws -> Void
    ) async throws {
        let holder = FakeHolder(answer)
        let server = try await HTTPServer.start(
            host: "127.0.0.1", port: 0, group: MultiThreadedEventLoopGroup.singleton,
            logger: Logger(label: "test"), handler: holder)
        do {
            try await body("127.0.0.1:\(server.port)", holder)
        } catch {
            await server.shutdown(grace: .zero)
            throw error
        }
        await server.shutdown(grace: .zero)
    }
}
