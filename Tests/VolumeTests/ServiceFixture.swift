import Foundation
import Logging
import Model
import NIOCore
import NIOPosix
import Needles
import Synchronization
import Wire

@testable import Volume

/// A volume server on a free port with an empty directory, for one test.
struct ServiceFixture {
    let service: VolumeService
    let directory: String
    let group: any EventLoopGroup

    /// Runs `body` with a server that has volume 3, then takes everything down.
    static func run(
        _ change: (inout VolumeConfiguration) -> Void = { _ in }, master: (any MasterPeer)? = nil,
        replication: ReplicaPlacement = .single, ttl: TimeToLive = .none,
        _ body: (ServiceFixture) async throws -> Void
    ) async throws {
        let directory = "/tmp/volume-service-\(UUID().uuidString)"
        try FileManager.default.createDirectory(
            atPath: directory, withIntermediateDirectories: true)
        var configuration = VolumeConfiguration(
            store: StoreConfiguration(directories: [.init(path: directory, maxVolumes: 8)]))
        configuration.port = 0
        configuration.store.sync = .none
        change(&configuration)
        let group = MultiThreadedEventLoopGroup.singleton
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let service = try await VolumeService.start(
            configuration, group: group, master: master, logger: logger)
        let fixture = ServiceFixture(service: service, directory: directory, group: group)
        do {
            try await VolumePeer(service: service).allocateVolume(
                AllocateVolume(id: 3, replication: replication, ttl: ttl))
            try await body(fixture)
        } catch {
            await fixture.end()
            throw error
        }
        await fixture.end()
    }

    private func end() async {
        await service.shutdown(grace: .seconds(2))
        try? FileManager.default.removeItem(atPath: directory)
    }

    /// Names of the files in the server's directory, sorted.
    var files: [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []).sorted()
    }

    /// Opens a connection.
    func connect() async throws -> TestConnection {
        try await TestConnection(port: service.port, group: group)
    }

    /// Sends one request and returns the answer.
    ///
    /// `body` `nil`: none, and no length told.
    func send(
        _ method: String, _ path: String, _ headers: [(String, String)] = [], body: [UInt8]? = nil
    ) async throws -> TestAnswer {
        var head = "\(method) \(path) HTTP/1.1\r\nHost: test\r\nConnection: close\r\n"
        for (name, value) in headers { head += "\(name): \(value)\r\n" }
        if let body { head += "Content-Length: \(body.count)\r\n" }
        let connection = try await connect()
        try await connection.send(Array("\(head)\r\n".utf8) + (body ?? []))
        return try await connection.answer()
    }

    /// Posts a file as a form does.
    func post(
        _ path: String, _ data: [UInt8], filename: String? = nil, type: String? = nil,
        headers: [(String, String)] = []
    ) async throws -> TestAnswer {
        var form = "--b0undary\r\nContent-Disposition: form-data; name=\"file\""
        if let filename { form += "; filename=\"\(filename)\"" }
        if let type { form += "\r\nContent-Type: \(type)" }
        let body = Array("\(form)\r\n\r\n".utf8) + data + Array("\r\n--b0undary--\r\n".utf8)
        return try await send(
            "POST", path, [("Content-Type", "multipart/form-data; boundary=b0undary")] + headers,
            body: body)
    }
}

/// A master that remembers what it was told.
final class RecordingMaster: MasterPeer {
    private let state = Mutex<(reports: [ServerReport], gone: [String])>(([], []))
    private let arrivals: AsyncStream<ServerReport>
    private let arrived: AsyncStream<ServerReport>.Continuation

    init() { (arrivals, arrived) = AsyncStream.makeStream() }

    var gone: [String] { state.withLock { $0.gone } }

    /// Waits for the first report that satisfies `condition`.
    func report(where condition: (ServerReport) -> Bool) async -> ServerReport? {
        for await report in arrivals where condition(report) { return report }
        return nil
    }

    func report(
        _ report: ServerReport, from peer: any VolumeServerPeer
    ) async throws(PeerError) -> ReportReply {
        state.withLock { $0.reports.append(report) }
        arrived.yield(report)
        return ReportReply(
            volumeSizeLimit: 1 << 30, topologyID: "topology", masters: ["127.0.0.1:9333"])
    }

    func disconnected(_ serverID: String) async { state.withLock { $0.gone.append(serverID) } }

    func locations(of volume: VolumeID) async throws(PeerError) -> [String] { [] }
}
