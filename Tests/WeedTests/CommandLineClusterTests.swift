import Foundation
import Testing

/// Masters and volume servers as processes of their own, and the tools that use them.
@Suite("Command line: servers in processes of their own", .serialized)
struct CommandLineClusterTests {
    /// A directory with a name for each server, removed at the end.
    final class Scratch {
        let url = FileManager.default.temporaryDirectory
            .appending(path: "weed-cluster-\(UInt64.random(in: 0 ... .max))")

        init() throws {
            try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        }
        deinit { try? FileManager.default.removeItem(at: url) }

        func path(_ name: String) -> String { url.appending(path: name).path }
    }

    private func master(_ directory: String) throws -> (process: Child, address: String) {
        let child = try Child(["master", "-mdir=\(directory)", "-ip=127.0.0.1", "-port=0"])
        try child.waitUntil("the master is ready") { $0.contains("master state") }
        return (child, try #require(long(child)))
    }

    /// `host:port.grpcPort`, from the start lines.
    private func long(_ child: Child) -> String? {
        child.errors.split(separator: "\n").first { $0.contains("gRPC on port") }
            .flatMap { $0.split(separator: " ").last.map(String.init) }
    }

    private func volume(_ directory: String, _ master: String, _ flags: String...) throws -> Child {
        try Child(
            [
                "volume", "-dir=\(directory)", "-mserver=\(master)", "-ip=127.0.0.1", "-port=0",
                "-preStopSeconds=0",
            ] + flags)
    }

    private func joined(_ child: Child) throws {
        try child.waitUntil("it joined the master") { $0.contains("reports go to the master") }
    }

    private func run(_ arguments: [String]) throws -> (code: Int32, output: String, errors: String)
    {
        let child = try Child(arguments)
        let code = child.wait()
        return (code, child.output, child.errors)
    }

    private func fids(_ json: String) -> [String] {
        let fields = json.split(separator: "\"").map(String.init)
        return fields.indices.filter { fields[$0] == "fid" }.map { fields[$0 + 2] }
    }

    @Test("two copies through upload, download and delete; a clean stop and the same again")
    func twoCopies() throws {
        let scratch = try Scratch()
        let (master, address) = try master(scratch.path("m"))
        let servers = [
            try volume(scratch.path("v1"), address), try volume(scratch.path("v2"), address),
        ]
        for server in servers { try joined(server) }
        let small = Data("hello".utf8)
        let large = Data((0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) })
        try small.write(to: scratch.url.appending(path: "small.txt"))
        try large.write(to: scratch.url.appending(path: "large.bin"))
        let flag = "-master=\(address)"
        let uploaded = try run([
            "upload", flag, "-replication=001", "-maxMB=1", scratch.path("small.txt"),
            scratch.path("large.bin"),
        ])
        #expect(uploaded.code == 0, "\(uploaded.errors)")
        let fids = fids(uploaded.output)
        try #require(fids.count == 2)
        #expect(fids[1] == fids[0] + "_1")
        #expect(uploaded.output.hasPrefix("[{\"fileName\":\"small.txt\",\"url\":\"127.0.0.1:"))
        for server in servers {
            let url = try #require(server.address("volume server"))
            #expect(try Child.curl(["\(url)/\(fids[0])?proxied=true"]) == "hello")
        }
        let target = scratch.path("got")
        try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: true)
        #expect(try run(["download", flag, "-dir=\(target)"] + fids).code == 0)
        #expect(try Data(contentsOf: URL(filePath: target + "/large.bin")) == large)
        #expect(try Data(contentsOf: URL(filePath: target + "/small.txt")) == small)
        let deleted = try run(["delete", flag] + fids)
        #expect(deleted.code == 0)
        #expect(deleted.output.contains("\"size\":3000000"))
        let gone = try run(["download", flag, "-dir=\(target)", fids[0]])
        #expect(gone.code == 1)
        #expect(gone.errors.contains("404: no such file"))
        for process in servers + [master] {
            process.signal(SIGTERM)
            #expect(process.wait() == 0, "\(process.errors)")
        }
    }

    @Test("a volume server of one cluster does not join another, and says why")
    func foreign() throws {
        let scratch = try Scratch()
        let (first, address) = try master(scratch.path("m1"))
        let member = try volume(scratch.path("v"), address)
        try joined(member)
        try member.waitUntil("it remembers its cluster") { _ in
            FileManager.default.fileExists(atPath: scratch.path("v") + "/cluster.json")
        }
        member.signal(SIGTERM)
        #expect(member.wait() == 0)
        first.signal(SIGTERM)
        #expect(first.wait() == 0)
        let (second, other) = try master(scratch.path("m2"))
        let stray = try volume(scratch.path("v"), other, "-v=1")
        try stray.waitUntil("it says why") { $0.contains("belongs to cluster") }
        for process in [stray, second] {
            process.signal(SIGTERM)
            #expect(process.wait() == 0)
        }
    }

    @Test("what cannot be read of the cluster's file is an error with exit 78")
    func damagedClusterFile() throws {
        let scratch = try Scratch()
        try FileManager.default.createDirectory(
            atPath: scratch.path("v"), withIntermediateDirectories: true)
        try Data("{".utf8).write(to: URL(filePath: scratch.path("v") + "/cluster.json"))
        let run = try run([
            "volume", "-dir=\(scratch.path("v"))", "-master=127.0.0.1:1", "-ip=127.0.0.1",
            "-port=0",
        ])
        #expect(run.code == 78)
        #expect(run.errors.contains("cluster.json cannot be read"))
    }

    @Test("without a master: uploads fail with a reason and exit 1, and nothing on standard output")
    func noMaster() throws {
        let scratch = try Scratch()
        try Data("x".utf8).write(to: scratch.url.appending(path: "x"))
        for arguments in [["upload", scratch.path("x")], ["download", "3,01637037d6"]] {
            let run = try run([arguments[0], "-master=127.0.0.1:1", arguments[1]])
            #expect(run.code == 1)
            #expect(run.output == "")
            #expect(run.errors.contains("no master answers (127.0.0.1:1: Connection refused)"))
        }
    }
}
