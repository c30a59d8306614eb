import Foundation
import HTTPServer
import Model
import NIOCore
import Synchronization
import Testing

@testable import Volume

@Suite("Writes and deletes on several servers")
struct CopiesWriteTests {
    private static let text = Array(String(repeating: "the same line again\n", count: 200).utf8)

    /// One upload of a kind, through a server.
    private static func upload(
        _ kind: Int, _ path: String, to server: ServiceFixture
    ) async throws -> TestAnswer {
        switch kind {
        case 0: try await server.post(path, Array("hello".utf8), filename: "a.bin")
        case 1: try await server.post(path, text, filename: "a.txt", type: "text/plain")
        case 2:
            try await server.post(
                path + "?ts=1400000000&ttl=3d", [1, 2, 3], filename: "d/é \"q\" ü.dat",
                type: "x/y", headers: [("Seaweed-Foo", "b<r>"), ("seaweed-a-b", "c")])
        case 3: try await server.post(path, [7], filename: "")
        case 4: try await server.post(path, [])
        case 5: try await server.send("PUT", path, body: [1, 2, 3])
        case 6:
            try await server.send(
                "PUT", path, [("Content-Type", "application/octet-stream")], body: [9, 9])
        case 7:
            try await server.send(
                "PUT", path + "?fsync=true",
                [
                    ("Content-Type", "text/css"), ("Content-Encoding", "gzip"),
                    ("Content-Disposition", "attachment; filename=\"x.css\""),
                ], body: ReadFixture.gzip(text))
        case 8:
            try await server.post(
                path + "?cm=true", Array(#"{"name":"n","size":0,"chunks":[]}"#.utf8),
                filename: "m.json", type: "application/json")
        case 9:
            try await server.post(
                path, [4], filename: String(repeating: "n", count: 300),
                type: String(repeating: "m", count: 300))
        case 10: try await server.post(path, text + text, type: "text/html; charset=utf-8")
        default: try await server.post(path, [UInt8](repeating: 5, count: 100_000), filename: "l")
        }
    }

    @Test("every kind of upload is stored equal on all holders", arguments: [1, 2])
    func equal(others: Int) async throws {
        try await CopiesFixture.run(others + 1) { cluster in
            try await cluster.makeVolume(3, on: Array(0...others), replication: UInt8(others))
            for kind in 0...11 {
                for receiver in 0...1 {
                    let id = String(format: "3,%02x637037d6", 1 + kind * 2 + receiver)
                    let answer = try await Self.upload(kind, "/\(id)", to: cluster[receiver])
                    #expect(answer.status == 201, "kind \(kind): \(answer.text)")
                    let first = try #require(try cluster.stored(0, id), "kind \(kind)")
                    for other in 1...others {
                        #expect(try cluster.stored(other, id) == first, "kind \(kind)")
                    }
                    let tag = PreparedUpload.eTag(first.checksum)
                    #expect(answer["etag"] == "\"\(tag)\"")
                }
            }
            for server in cluster.servers {
                #expect(server.service.copies.ledger.debts.isEmpty)
            }
        }
    }

    @Test("a large file goes to all holders piece by piece")
    func large() async throws {
        var generator = ReadNoise(seed: 31)
        let data = generator.bytes(5_000_001)
        try await CopiesFixture.run(2) { cluster in
            try await cluster.makeVolume(3, on: [0, 1])
            let stored = try await cluster[0].post("/3,01637037d6", data, filename: "big")
            #expect(stored.status == 201, "\(stored.text)")
            let put = try await cluster[1].send("PUT", "/3,02637037d6", body: data)
            #expect(put.status == 201, "\(put.text)")
            for id in ["3,01637037d6", "3,02637037d6"] {
                let first = try #require(try cluster.stored(0, id))
                #expect(first.data == data)
                #expect(try cluster.stored(1, id) == first)
            }
        }
    }

    @Test("questions for one volume at the same time are one question")
    func sharedQuestion() async throws {
        let master = ScriptedMaster(delayMilliseconds: 100)
        try await CopiesFixture.run(2, master: master) { cluster in
            try await cluster.makeVolume(3, on: [0, 1])
            let server = cluster[0]
            try await withThrowingTaskGroup(of: Int.self) { group in
                for key in 1...20 {
                    group.addTask {
                        let path = String(format: "/3,%02x637037d6", key)
                        return try await server.post(path, [1]).status
                    }
                }
                for try await status in group { #expect(status == 201) }
            }
            #expect(master.questions == 1)
        }
    }

    @Test("with too few holders nothing is written, and it works when they are back")
    func tooFew() async throws {
        try await CopiesFixture.run(2) { cluster in
            try await cluster.makeVolume(3, on: [0, 1])
            cluster.master.set(3, [cluster[0].service.url])
            let problem =
                "writable replication locations [1] is less than volume 3 replication copy count [2]"
            let refused = try await cluster[0].post("/3,01637037d6", [1])
            #expect(refused.status == 500)
            #expect(refused.text.contains(problem))
            #expect(try cluster.stored(0, "3,01637037d6") == nil)
            let kept = try await cluster[0].send("DELETE", "/3,01637037d6")
            #expect(kept.status == 500)
            #expect(kept.text.contains(problem))
            cluster.master.set(3, cluster.servers.map(\.service.url))
            try await Task.sleep(nanoseconds: 250_000_000)
            #expect(try await cluster[0].post("/3,01637037d6", [1]).status == 201)
        }
    }

    @Test("a write that a stopped holder misses is an error, and is mended when it is back")
    func holderDown() async throws {
        try await CopiesFixture.run(2) { cluster in
            try await cluster.makeVolume(3, on: [0, 1])
            #expect(try await cluster[0].post("/3,01637037d6", [1]).status == 201)
            await cluster.stop(1)
            let failed = try await cluster[0].post("/3,02637037d6", [2], filename: "two")
            #expect(failed.status == 500)
            #expect(failed.text.contains("failed to write to replicas for volume 3"))
            // An overwrite counts too: the old bytes there must go.
            #expect(try await cluster[0].post("/3,01637037d6", [3]).status == 500)
            #expect(cluster[0].service.copies.ledger.debts.count == 2)
            // What is owed outlives the process.
            await cluster.stop(0)
            try await cluster.restart(0)
            #expect(cluster[0].service.copies.ledger.debts.count == 2)
            try await cluster.restart(1)
            #expect(await cluster.settled())
            for id in ["3,01637037d6", "3,02637037d6"] {
                let here = try #require(try cluster.stored(0, id))
                #expect(try cluster.stored(1, id) == here)
            }
            await cluster.stop(0)
            try await cluster.restart(0)
            #expect(cluster[0].service.copies.ledger.debts.isEmpty)
        }
    }

    @Test("a delete that a stopped holder misses is an error, and is mended when it is back")
    func deleteHolderDown() async throws {
        try await CopiesFixture.run(2) { cluster in
            try await cluster.makeVolume(3, on: [0, 1])
            #expect(try await cluster[0].post("/3,01637037d6", [1], filename: "a").status == 201)
            #expect(try await cluster[1].post("/3,02637037d6", [1], filename: "a").status == 201)
            let deleted = try await cluster[1].send("DELETE", "/3,01637037d6")
            #expect(deleted.status == 202)
            #expect(deleted.text == #"{"size":14}"#)
            #expect(try cluster.stored(0, "3,01637037d6") == nil)
            #expect(try await cluster[0].send("DELETE", "/3,01637037d6").status == 404)
            await cluster.stop(1)
            let failed = try await cluster[0].send("DELETE", "/3,02637037d6")
            #expect(failed.status == 500)
            #expect(failed.text.contains("Deletion Failed: "))
            try await cluster.restart(1)
            #expect(try cluster.stored(1, "3,02637037d6") != nil)
            #expect(await cluster.settled())
            #expect(try cluster.stored(1, "3,02637037d6") == nil)
            #expect(cluster[0].service.copies.ledger.debts.isEmpty)
        }
    }

    @Test("a wrong cookie is refused everywhere and leaves nothing behind")
    func wrongCookie() async throws {
        try await CopiesFixture.run(2) { cluster in
            try await cluster.makeVolume(3, on: [0, 1])
            #expect(try await cluster[0].post("/3,01637037d6", [1]).status == 201)
            let other = try await cluster[0].post("/3,01deadbeef", [2])
            #expect(other.status == 500)
            #expect(other.text.contains("mismatching cookie"))
            let delete = try await cluster[1].send("DELETE", "/3,01deadbeef")
            #expect(delete.status == 400)
            #expect(cluster[0].service.copies.ledger.debts.isEmpty)
            #expect(cluster[1].service.copies.ledger.debts.isEmpty)
            #expect(try cluster.stored(1, "3,01637037d6")?.data == [1])
        }
    }

    @Test("what only another holder could write is undone there")
    func localFailure() async throws {
        try await CopiesFixture.run(2) { cluster in
            try await cluster.makeVolume(3, on: [0, 1])
            // The key is known here under another cookie, so only the other server takes it.
            #expect(
                try await cluster[0].post("/3,01aaaaaaaa?type=replicate", [1]).status == 201)
            let failed = try await cluster[0].post("/3,01637037d6", [2])
            #expect(failed.status == 500)
            #expect(await cluster.settled())
            #expect(try cluster.stored(1, "3,01637037d6") == nil)
        }
    }

    @Test("servers that change one file at the same time end with equal copies")
    func sameFile() async throws {
        try await CopiesFixture.run(2) { cluster in
            try await cluster.makeVolume(3, on: [0, 1])
            let servers = cluster.servers
            try await withThrowingTaskGroup(of: Void.self) { group in
                for round in 0..<60 {
                    group.addTask {
                        let server = servers[round % 2]
                        let answer = try await server.post(
                            "/3,01637037d6", Array("round \(round)".utf8))
                        #expect([201, 500].contains(answer.status), "\(answer.text)")
                    }
                }
                try await group.waitForAll()
            }
            #expect(await cluster.settled())
            let here = try #require(try cluster.stored(0, "3,01637037d6"))
            #expect(try cluster.stored(1, "3,01637037d6") == here)
        }
    }

    @Test("tokens are made for the other holders")
    func tokens() async throws {
        let key = Array("secret".utf8)
        try await CopiesFixture.run(2, { $0.signingKey = key }) { cluster in
            try await cluster.makeVolume(3, on: [0, 1])
            let id = try FileID("3,01637037d6")
            let token = try #require(TokenRules(key: key).sign(id))
            #expect(TokenRules(key: key).isValid(token, for: "3,01637037d6"))
            #expect(!TokenRules(key: key).isValid(token, for: "3,02637037d6"))
            #expect(try await cluster[0].post("/3,01637037d6", [1]).status == 401)
            let stored = try await cluster[0].post("/3,01637037d6?jwt=\(token)", [1])
            #expect(stored.status == 201, "\(stored.text)")
            #expect(try cluster.stored(1, "3,01637037d6") != nil)
        }
    }
}
