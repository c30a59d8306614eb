import Foundation
import NIOCore
import Needles
import Testing
import Wire

@testable import Volume

@Suite("Reads over the wire")
struct ReadServerTests {
    private static let path = "/3,01637037d6"
    private static let hello = Array("hello world".utf8)

    @Test("GET and HEAD of a small file")
    func small() async throws {
        try await ServiceFixture.run { server in
            let posted = try await server.post(
                Self.path + "?ts=1400000000", Self.hello, filename: "hello.txt")
            #expect(posted.status == 201)
            let got = try await server.send("GET", Self.path)
            #expect(got.status == 200)
            #expect(got.text == "hello world")
            let expected = [
                "accept-ranges": "bytes", "content-disposition": "inline; filename=hello.txt",
                "content-length": "11", "content-type": "text/plain; charset=utf-8",
                "etag": "\"c99465aa\"", "last-modified": "Tue, 13 May 2014 16:53:20 GMT",
            ]
            for (name, value) in expected { #expect(got[name] == value) }
            #expect(got["server"]?.hasPrefix("SeaweedFS Volume ") == true)
            #expect(got["access-control-allow-origin"] == nil)
            let head = try await server.send("HEAD", Self.path)
            #expect(head.status == 200)
            #expect(head.body.isEmpty)
            for (name, value) in expected { #expect(head[name] == value) }
            let other = try await server.send("GET", "/3/01637037d6/other.pdf?dl=1")
            #expect(other["content-disposition"] == "attachment; filename=other.pdf")
        }
    }

    @Test("what is not there, or not yours, is 404 with an empty body")
    func notFound() async throws {
        try await ServiceFixture.run { server in
            _ = try await server.post(Self.path, Self.hello)
            for path in ["/3,01637037d7", "/3,02637037d6", "/4,01637037d6"] {
                for method in ["GET", "HEAD"] {
                    let answer = try await server.send(method, path, [("Origin", "http://a")])
                    #expect(answer.status == 404)
                    #expect(answer.body.isEmpty)
                    #expect(answer["access-control-allow-origin"] == "*")
                }
            }
        }
    }

    @Test("deleted files are shown only to those who ask for them")
    func deleted() async throws {
        try await ServiceFixture.run { server in
            _ = try await server.post(Self.path, Self.hello)
            #expect(try await server.send("DELETE", Self.path).status == 202)
            #expect(try await server.send("GET", Self.path).status == 404)
            let shown = try await server.send("GET", Self.path + "?readDeleted=true")
            #expect(shown.status == 200)
            #expect(shown.text == "hello world")
        }
    }

    @Test("an empty file is only read with its cookie")
    func empty() async throws {
        try await ServiceFixture.run { server in
            _ = try await server.post(Self.path, [], filename: "empty.txt")
            let got = try await server.send("GET", Self.path)
            #expect(got.status == 200)
            #expect(got["etag"] == "\"00000000\"")
            #expect(got["content-length"] == "0")
            #expect(got["content-type"] == nil)
            #expect(try await server.send("GET", "/3,0100000000").status == 404)
        }
    }

    @Test("conditions and parts")
    func conditions() async throws {
        try await ServiceFixture.run { server in
            _ = try await server.post(Self.path + "?ts=1400000000", Self.hello, filename: "a.txt")
            func get(_ headers: (String, String)...) async throws -> TestAnswer {
                try await server.send("GET", Self.path, headers)
            }
            let same = try await get(("If-None-Match", "\"c99465aa\""))
            #expect(same.status == 304)
            #expect(same.body.isEmpty)
            #expect(same["last-modified"] == "Tue, 13 May 2014 16:53:20 GMT")
            #expect(same["etag"] == nil)
            #expect(try await get(("If-None-Match", "\"other\"")).status == 200)
            let part = try await get(("Range", "bytes=6-"))
            #expect(part.status == 206)
            #expect(part.text == "world")
            #expect(part["content-range"] == "bytes 6-10/11")
            let none = try await get(("Range", "bytes=-0"))
            #expect(none.status == 206)
            #expect(none["content-length"] == "0")
            let bad = try await get(("Range", "bytes=11-"))
            #expect(bad.status == 416)
            #expect(bad["content-range"] == "bytes */11")
            #expect(bad["content-type"] == "text/plain; charset=utf-8")
            #expect(bad.text == "invalid range: failed to overlap\n")
            let several = try await get(("Range", "bytes=0-3,6-8"))
            #expect(several.status == 206)
            #expect(several["content-type"]?.hasPrefix("multipart/byteranges; boundary=") == true)
            #expect(
                several.text.contains("bytes 6-8/11\r\nContent-Type: text/plain; charset=utf-8"))
        }
    }

    @Test("large files come from the data file, whole and in parts")
    func large() async throws {
        var generator = ReadNoise(seed: 20)
        let data = generator.bytes(700_001)
        try await ServiceFixture.run { server in
            #expect(try await server.post(Self.path, data).status == 201)
            let whole = try await server.send("GET", Self.path)
            #expect(whole.status == 200)
            #expect(whole.body == data)
            #expect(whole["content-type"] == "application/octet-stream")
            let head = try await server.send("HEAD", Self.path)
            #expect(head["content-length"] == "700001")
            #expect(head["content-type"] == nil)
            let part = try await server.send("GET", Self.path, [("Range", "bytes=300000-600000")])
            #expect(part.status == 206)
            #expect(part.body == Array(data[300_000...600_000]))
            let several = try await server.send(
                "GET", Self.path, [("Range", "bytes=0-299999,-300000")])
            #expect(several.status == 206)
            #expect(several["content-length"] == "\(several.body.count)")
            let separator = Array("\r\n\r\n".utf8)
            let start = try #require(several.body.firstRange(of: separator)?.upperBound)
            #expect(several.body[start..<start + 300_000].elementsEqual(data[..<300_000]))
            let second = several.body[(start + 300_000)...]
            let tail = try #require(second.firstRange(of: separator)?.upperBound)
            #expect(second[tail..<tail + 300_000].elementsEqual(data.suffix(300_000)))
        }
    }

    @Test("files that the server compressed", arguments: [1000, 200_000])
    func compressed(count: Int) async throws {
        let line = Array("the same line again and again\n".utf8)
        let data = Array((0..<count).map { line[$0 % line.count] })
        try await ServiceFixture.run { server in
            _ = try await server.post(Self.path, data, filename: "a.txt")
            let plain = try await server.send("GET", Self.path)
            #expect(plain["content-encoding"] == nil)
            #expect(plain.body == data)
            let head = try await server.send("HEAD", Self.path)
            #expect(head["content-length"] == "\(count)")
            let packed = try await server.send(
                "GET", Self.path, [("Accept-Encoding", "deflate, gzip;q=0.5")])
            #expect(packed["content-encoding"] == "gzip")
            #expect(packed.body.count < data.count / 2)
            #expect(packed["etag"] == plain["etag"])
            let range = [("Range", "bytes=\(count - 10)-")]
            let part = try await server.send("GET", Self.path, range)
            #expect(part.status == 206)
            #expect(part.body == Array(data.suffix(10)))
        }
    }

    @Test("files too large to unpack in memory are unpacked piece by piece")
    func streamed() async throws {
        var generator = ReadNoise(seed: 21)
        let data = generator.bytes(ReadPlan.heldBytes + 300_000)
        try await ServiceFixture.run { server in
            let stored = try await server.send(
                "PUT", Self.path, [("Content-Encoding", "gzip")], body: ReadFixture.gzip(data))
            #expect(stored.status == 201)
            let plain = try await server.send("GET", Self.path)
            #expect(plain["content-length"] == "\(data.count)")
            #expect(plain["content-type"] == "application/octet-stream")
            #expect(plain.body == data)
            let part = try await server.send("GET", Self.path, [("Range", "bytes=-7")])
            #expect(part.status == 206)
            #expect(part.body == Array(data.suffix(7)))
        }
    }

    @Test("broken gzip data is an error without a body")
    func brokenGzip() async throws {
        try await ServiceFixture.run { server in
            let packed = Array(ReadFixture.gzip(Self.hello).dropLast(6))
            _ = try await server.send(
                "PUT", Self.path, [("Content-Type", "text/plain"), ("Content-Encoding", "gzip")],
                body: packed)
            let plain = try await server.send("GET", Self.path)
            #expect(plain.status == 500)
            #expect(plain.body.isEmpty)
            let stored = try await server.send("GET", Self.path, [("Accept-Encoding", "gzip")])
            #expect(stored.status == 200)
            #expect(stored.body == packed)
        }
    }

    @Test("files of a volume that cannot be used are not said to be missing")
    func unusable() async throws {
        try await ServiceFixture.run({ configuration in
            let base = configuration.store.directories[0].path + "/7"
            // A volume of a format from the future.
            try? Data([9, 0, 0, 0, 0, 0, 0, 0]).write(to: URL(fileURLWithPath: base + ".dat"))
            try? Data("{}".utf8).write(to: URL(fileURLWithPath: base + ".vif"))
        }) { server in
            let answer = try await server.send("GET", "/7,01637037d6")
            #expect(answer.status == 500)
            #expect(answer.body.isEmpty)
        }
    }

    @Test("the client is sent to a server that has the volume")
    func redirect() async throws {
        let master = KnowingMaster(locations: ["10.0.0.7:8080"])
        try await ServiceFixture.run({ $0.readMode = .redirect }, master: master) { server in
            let answer = try await server.send("GET", "/9,01637037d6?collection=a%20b&width=1")
            #expect(answer.status == 301)
            #expect(
                answer["location"]
                    == "http://10.0.0.7:8080/9,01637037d6?collection=a%20b&proxied=true")
            #expect(try await server.send("GET", "/9,01637037d6?proxied=true").status == 404)
            #expect(try await server.send("GET", "/8,01637037d6").status == 404)
        }
    }
}

/// A master that knows where volume 9 is.
private struct KnowingMaster: MasterPeer {
    let locations: [String]

    func report(
        _ report: ServerReport, from peer: any VolumeServerPeer
    ) async throws(PeerError) -> ReportReply {
        ReportReply(volumeSizeLimit: 1 << 30, topologyID: "topology", masters: [])
    }

    func disconnected(_ serverID: String) async {}

    func locations(of volume: UInt32) async throws(PeerError) -> [String] {
        volume == 9 ? locations : []
    }
}
