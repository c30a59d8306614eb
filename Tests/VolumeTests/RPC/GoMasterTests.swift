import Foundation
import Logging
import Model
import NIOCore
import NIOPosix
import Needles
import RPC
import TestSupport
import Testing
import Wire

@testable import Volume

/// Our volume server under a master of the Go original, over gRPC alone.
@Suite(.serialized, .timeLimit(.minutes(5))) struct GoMasterTests {
    /// A master of the Go original, as a process.
    final class GoMaster: Sendable {
        let port: Int
        private let program: String
        private let directory: TemporaryDirectory
        private let logFile: String
        private let process: ChildProcess

        init(_ program: String, port: Int, directory: TemporaryDirectory) throws {
            self.port = port
            self.program = program
            self.directory = directory
            logFile = directory.file("log")
            process = try ChildProcess(
                program,
                [
                    "master", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-port=\(port)",
                    "-mdir=\(directory.path)", "-peers=none", "-telemetry=false",
                ],
                environment: ProcessInfo.processInfo.environment.map { "\($0)=\($1)" },
                output: logFile)
        }

        func get(_ path: String) async throws -> HTTPResponse {
            try await onThread { [port] in try HTTPClient(port: port).get(path) }
        }

        /// Waits until an answer satisfies a condition.
        func wait(_ path: String, _ condition: (HTTPResponse) -> Bool) async throws -> String {
            while true {
                if let answer = try? await get(path), condition(answer) { return answer.text }
                try await Task.sleep(for: .milliseconds(20))
            }
        }

        func kill() { process.kill() }
        var log: String { String(decoding: Files.read(logFile) ?? [], as: UTF8.self) }
    }

    /// Waits until something is so; the time limit bounds it.
    private func until(_ condition: () -> Bool) async {
        while !condition(), (try? await Task.sleep(for: .milliseconds(5))) != nil {}
    }

    /// Two ports, each free together with the one 10000 above it.
    private static func ports() async throws -> [Int] {
        var found: [Int] = []
        while found.count < 2 {
            let port = Int.random(in: 11000..<21000)
            var sockets: [any NIOCore.Channel] = []
            for number in [port, port + 10_000] {
                let socket = try? await ServerBootstrap(
                    group: .singletonMultiThreadedEventLoopGroup
                )
                .bind(host: "127.0.0.1", port: number).get()
                if let socket { sockets.append(socket) }
            }
            if sockets.count == 2, !found.contains(port) { found.append(port) }
            for socket in sockets { try await socket.close() }
        }
        return found
    }

    private func start(
        _ directory: TemporaryDirectory, port: Int, master: RemoteMaster, _ logger: Logger
    ) async throws -> VolumeService {
        var configuration = VolumeConfiguration(
            store: StoreConfiguration(directories: [.init(path: directory.path, maxVolumes: 20)]))
        configuration.port = port
        configuration.dataCenter = "dc7"
        configuration.rack = "r7"
        return try await VolumeService.start(
            configuration, group: MultiThreadedEventLoopGroup.singleton, master: master,
            logger: logger)
    }

    @Test("It joins, gets volumes, is vacuumed, loses a collection, rejoins and leaves")
    func life() async throws {
        guard let program = GoOriginal.path(neededFor: "the life under a Go master") else { return }
        let ports = try await GoMasterTests.ports()
        let (masterPort, volumePort) = (ports[0], ports[1])
        let masterDirectory = try TemporaryDirectory("go-master")
        let volumeDirectory = try TemporaryDirectory("volume")
        let go = try GoMaster(program, port: masterPort, directory: masterDirectory)
        defer { go.kill() }
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let channels = PeerChannels(group: MultiThreadedEventLoopGroup.singleton)
        let address = PeerAddress(host: "127.0.0.1", port: masterPort)
        let master = RemoteMaster(
            HeartbeatConfiguration(masters: [address]), channels: channels, logger: logger)
        let service = try await start(volumeDirectory, port: volumePort, master: master, logger)
        let server = try await VolumeRPC.start(
            service, host: "127.0.0.1", port: volumePort + 10_000, group: .singleton,
            channels: channels, master: master, logger: logger)

        while await master.heartbeat.joined(within: .seconds(60)) == nil {}
        #expect(master.heartbeat.membership?.volumeSizeLimit == 30_720 << 20)
        #expect(master.heartbeat.membership?.master == address)
        let status = try await go.wait("/dir/status") { $0.text.contains(service.url) }
        #expect(status.contains("dc7") && status.contains("r7") && status.contains("\"Max\":20"))

        try await files(go, service, master)
        try await collections(go, service)
        try await marks(go, service, channels)
        try await restart(go, program, masterDirectory, service, master)

        await service.shutdown(grace: .seconds(1))
        await server.shutdown(grace: .seconds(1))
        await channels.close()
    }

    private func assign(
        _ go: GoMaster, _ query: String = ""
    ) async throws -> (fid: String, url: String) {
        struct Answer: Decodable {
            var fid: String
            var url: String
        }
        let text = try await go.wait("/dir/assign" + query) {
            $0.status == 200 && $0.text.contains("\"fid\"")
        }
        let answer = try JSONDecoder().decode(Answer.self, from: Data(text.utf8))
        return (answer.fid, answer.url)
    }

    private func files(
        _ go: GoMaster, _ service: VolumeService, _ master: RemoteMaster
    ) async throws {
        let (fid, url) = try await assign(go)
        #expect(url == service.url)
        // it answers with the first volume, and goes on making the others
        await until { service.store.volumes.count == 7 }
        let data = [UInt8](repeating: 5, count: 300_000)
        let port = service.port
        let stored = try await onThread {
            try HTTPClient(port: port).upload("/\(fid)", MultipartFile(data, name: "a"))
        }
        #expect(stored.status == 201)
        let read = try await onThread { try HTTPClient(port: port).get("/\(fid)") }
        #expect(read.body == data)
        let id = try FileID(fid).volume
        #expect(try await master.locations(of: id) == [service.url])
        #expect(try await master.locations(of: 4711).isEmpty)

        let deleted = try await onThread { try HTTPClient(port: port).delete("/\(fid)") }
        #expect(deleted.status == 202)
        let volume = try #require(service.store.volume(id))
        #expect(volume.info.garbageRatio > 0.5)
        // the master only vacuums what it was told has garbage
        _ = try await go.wait("/vol/vacuum?garbageThreshold=0.1") { _ in
            volume.info.garbageRatio == 0
        }
        #expect(volume.info.size == 8 && volume.info.compactRevision == 1)
    }

    private func collections(_ go: GoMaster, _ service: VolumeService) async throws {
        _ = try await assign(go, "?collection=pics&ttl=5d")
        await until { service.store.volumes.count { $0.collection == "pics" } == 7 }
        let held = service.store.volumes.filter { $0.collection == "pics" }
        #expect(held.allSatisfy { "\($0.info.ttl)" == "5d" })
        let answer = try await go.wait("/col/delete?collection=pics") { $0.status == 204 }
        #expect(answer.isEmpty)
        #expect(service.store.volumes.allSatisfy { $0.collection.isEmpty })
        _ = try await go.wait("/dir/status") { !$0.text.contains("pics") }
    }

    private func marks(
        _ go: GoMaster, _ service: VolumeService, _ channels: PeerChannels
    ) async throws {
        let status = try await go.get("/dir/status").text
        #expect(GoMasterTests.hasWritable(status))
        for volume in service.store.volumes { volume.setReadOnly("test") }
        _ = try await go.wait("/dir/status") { !GoMasterTests.hasWritable($0.text) }
        for volume in service.store.volumes { volume.setReadOnly(nil) }
        _ = try await go.wait("/dir/status") { GoMasterTests.hasWritable($0.text) }
    }

    private static func hasWritable(_ status: String) -> Bool {
        status.contains(/"writables":\[\d/)
    }

    private func restart(
        _ first: GoMaster, _ program: String, _ directory: TemporaryDirectory,
        _ service: VolumeService, _ master: RemoteMaster
    ) async throws {
        first.kill()
        await until { master.heartbeat.membership == nil }
        let go = try GoMaster(program, port: first.port, directory: directory)
        defer { go.kill() }
        _ = try await go.wait("/dir/status") { $0.text.contains(service.url) }
        let (fid, url) = try await assign(go)
        #expect(url == service.url && !fid.isEmpty)

        await master.disconnected(service.store.serverID)
        _ = try await go.wait("/dir/status") { !$0.text.contains(service.url) }
    }
}
