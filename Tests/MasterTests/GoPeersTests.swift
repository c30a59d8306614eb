import FoundationEssentials
import Glibc
import Model
import NIOCore
import NIOPosix
import TestSupport
import Testing

@testable import Master

/// Volume servers and tools of the Go original with this master.
@Suite(.serialized) struct GoPeersTests {
    /// A running program of the original.
    private struct Program: Sendable {
        let process: ChildProcess
        let log: String

        init(_ weed: String, _ arguments: [String], log: String) throws {
            self.log = log
            let environment = ProcessInfo.processInfo.environment.map { "\($0)=\($1)" }
            process = try ChildProcess(weed, arguments, environment: environment, output: log)
        }

        var text: String { String(decoding: Files.read(log) ?? [], as: UTF8.self) }
    }

    private struct Cluster: Sendable {
        let weed: String
        let directory: TemporaryDirectory
        let master: MasterService

        var address: String { "127.0.0.1:\(master.port)" }

        func volume(_ port: Int, rack: String) throws -> Program {
            let data = directory.file("data-\(port)")
            try FileManager.default.createDirectory(
                atPath: data, withIntermediateDirectories: true)
            return try Program(
                weed,
                [
                    "volume", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-port=\(port)",
                    "-dir=\(data)", "-max=20", "-rack=\(rack)", "-master=\(address)",
                ], log: directory.file("volume-\(port).log"))
        }

        /// Runs a tool of the original to its end.
        func run(_ arguments: [String]) async throws -> (
            status: TestSupport.ExitStatus?, text: String
        ) {
            let log = directory.file("tool-\(UInt32.random(in: 0 ... .max)).log")
            let program = try Program(weed, arguments, log: log)
            let status = try await onThread { program.process.waitForExit(seconds: 60) }
            return (status, program.text)
        }
    }

    /// Runs `body` with a master whose ports are 10000 apart, as the original expects.
    private func withCluster(_ body: (Cluster) async throws -> Void) async throws {
        guard let weed = GoOriginal.path(neededFor: "Go peers") else {
            try Test.cancel("the Go original is not installed")
        }
        let directory = try TemporaryDirectory("go-peers")
        var configuration = MasterConfiguration(directory: directory.file("master"))
        configuration.host = "127.0.0.1"
        configuration.port = try FreePorts.pair().master
        configuration.volumeSizeLimitMB = 64
        let group = MultiThreadedEventLoopGroup.singleton
        let master = try await MasterService.start(
            configuration, group: group, remoteGroup: group, logger: silent)
        let result: Result<Void, any Error>
        do {
            result = .success(
                try await body(Cluster(weed: weed, directory: directory, master: master)))
        } catch {
            result = .failure(error)
        }
        await master.shutdown(grace: .seconds(1))
        try result.get()
    }

    private func wait(
        _ what: String, seconds: Double = 20, _ isDone: () async throws -> Bool
    ) async throws {
        let end = ContinuousClock.now + .seconds(seconds)
        while ContinuousClock.now < end {
            if try await isDone() { return }
            try await Task.sleep(for: .milliseconds(10))
        }
        Issue.record("\(what) took more than \(seconds) s")
    }

    private func status(_ cluster: Cluster) async throws -> String {
        try await http(cluster.master.port, "GET", "/dir/status").body
    }

    @Test func volumeServersJoinGoAndComeBack() async throws {
        try await withCluster { cluster in
            let (port, other) = (try FreePorts.pair().volume, try FreePorts.pair().volume)
            let first = try cluster.volume(port, rack: "r1")
            let second = try cluster.volume(other, rack: "r2")
            defer { for program in [first, second] { program.process.kill() } }
            try await wait("joining") {
                let text = try await status(cluster)
                return text.contains("127.0.0.1:\(port)") && text.contains("127.0.0.1:\(other)")
            }
            let given = try await http(cluster.master.port, "GET", "/dir/assign?replication=010")
            #expect(given.status == 200, "\(given.body)")
            let fields = given.body.split(separator: "\"")
            let fid = String(try #require(fields.count > 3 ? fields[3] : nil))
            let stored = try await http(
                port, "POST", "/" + fid, headers: [("Content-Type", "text/plain")], body: "hello")
            #expect(stored.status == 201, "\(stored.body)")
            for server in [port, other] {
                #expect(try await http(server, "GET", "/" + fid).body == "hello")
            }
            // A killed server is out of writing at once, and back as soon as it speaks again.
            let killed = ContinuousClock.now
            first.process.kill()
            try await wait("noticing", seconds: 1) {
                let look = try await http(
                    cluster.master.port, "GET", "/dir/lookup?volumeId=\(fid.prefix { $0 != "," })")
                return !look.body.contains(":\(port)")
            }
            print(
                "a killed volume server was out of look-ups after \(ContinuousClock.now - killed)")
            #expect(try await status(cluster).contains("1 of 2 copies connected"))
            let again = try cluster.volume(port, rack: "r1")
            defer { again.process.kill() }
            try await wait("coming back") {
                let text = try await status(cluster)
                return text.contains("127.0.0.1:\(port)") && !text.contains("copies connected")
            }
        }
    }

    @Test func toolsOfTheOriginalWork() async throws {
        try await withCluster { cluster in
            let ports = [try FreePorts.pair().volume, try FreePorts.pair().volume]
            let servers = try ports.map { try cluster.volume($0, rack: "r") }
            defer { for server in servers { server.process.kill() } }
            try await wait("joining") {
                let text = try await status(cluster)
                return ports.allSatisfy { text.contains("127.0.0.1:\($0)") }
            }
            var random = Seed("go tools")
            let content = random.bytes(3 << 20)
            let file = cluster.directory.file("large.bin")
            try Files.write(content, to: file)
            let uploaded = try await cluster.run([
                "upload", "-master=\(cluster.address)", "-maxMB=1", "-replication=001", file,
            ])
            #expect(uploaded.status == .code(0), "\(uploaded.text)")
            let fields = uploaded.text.split(separator: "\"").map(String.init)
            let at = try #require(fields.firstIndex(of: "fid"), "\(uploaded.text)")
            let fid = fields[at + 2]
            let target = cluster.directory.file("got")
            try FileManager.default.createDirectory(
                atPath: target, withIntermediateDirectories: true)
            let got = try await cluster.run([
                "download", "-server=\(cluster.address)", "-dir=\(target)", fid,
            ])
            #expect(got.status == .code(0), "\(got.text)")
            let name = try #require(Files.names(in: target).first, "\(got.text)")
            #expect(Files.read(target + "/" + name) == content)
            let benchmark = try await cluster.run([
                "benchmark", "-master=\(cluster.address)", "-n=1000", "-c=8",
                "-list=\(cluster.directory.file("list"))",
            ])
            #expect(benchmark.status == .code(0), "\(benchmark.text)")
            let lines = benchmark.text.split(separator: "\n")
            let failures = lines.filter { $0.hasPrefix("Failed requests:") }
            #expect(failures.count == 2, "\(benchmark.text)")
            #expect(failures.allSatisfy { $0.hasSuffix(" 0") }, "\(benchmark.text)")
            for line in lines where line.hasPrefix("Requests per second") {
                print("Go benchmark with this master: \(line)")
            }
        }
    }
}
