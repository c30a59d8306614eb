import Foundation
import HTTPServer
import Model
import NIOCore
import Testing

@testable import Volume

@Suite("Requests for what is on other servers")
struct CopiesReadTests {
    private static let path = "/3,01637037d6"

    @Test("writes, reads and deletes are passed on to a server that has the volume")
    func forwarded() async throws {
        var generator = ReadNoise(seed: 32)
        let big = generator.bytes(2_500_000)
        try await CopiesFixture.run(3) { cluster in
            try await cluster.makeVolume(3, on: [0, 1])
            let outside = cluster[2]
            let stored = try await outside.post(
                Self.path + "?ts=1400000000", Array("hello".utf8), filename: "a.txt",
                headers: [("Seaweed-Foo", "bar")])
            #expect(stored.status == 201, "\(stored.text)")
            #expect(stored.text.contains(#""name":"a.txt","size":5"#))
            #expect(stored["etag"] != nil)
            let first = try #require(try cluster.stored(0, "3,01637037d6"))
            #expect(first.lastModified == 1_400_000_000)
            #expect(try cluster.stored(1, "3,01637037d6") == first)
            let got = try await outside.send("GET", Self.path)
            #expect(got.status == 200)
            #expect(got.text == "hello")
            #expect(got["foo"] == "bar")
            #expect(got["content-disposition"] == "inline; filename=a.txt")
            #expect(got["server"]?.hasPrefix("SeaweedFS Volume ") == true)
            let head = try await outside.send("HEAD", Self.path)
            #expect(head.status == 200)
            #expect(head["content-length"] == "5")
            let part = try await outside.send("GET", Self.path, [("Range", "bytes=1-2")])
            #expect(part.status == 206)
            #expect(part.text == "el")
            #expect(try await outside.send("GET", "/3,02637037d6").status == 404)
            #expect(try await outside.send("PUT", "/3,05637037d6", body: big).status == 201)
            #expect(try cluster.stored(0, "3,05637037d6")?.data == big)
            #expect(try await outside.send("GET", "/3/05637037d6/x.bin").body == big)
            #expect(try await outside.send("DELETE", Self.path).status == 202)
            #expect(try cluster.stored(1, "3,01637037d6") == nil)
            let again = try await outside.send("DELETE", Self.path)
            #expect(again.status == 404)
            #expect(again.text == #"{"size":0}"#)
        }
    }

    @Test("a holder that is down is passed over")
    func nextHolder() async throws {
        try await CopiesFixture.run(3) { cluster in
            try await cluster.makeVolume(3, on: [0, 1])
            #expect(try await cluster[0].post(Self.path, [65, 66]).status == 201)
            await cluster.stop(1)
            for _ in 0..<6 {
                let got = try await cluster[2].send("GET", Self.path)
                #expect(got.status == 200)
                #expect(got.text == "AB")
            }
            await cluster.stop(0)
            #expect(try await cluster[2].send("GET", Self.path).status == 502)
            #expect(try await cluster[2].post("/3,02637037d6", [1]).status == 500)
            try await cluster.restart(0)
            try await cluster.restart(1)
        }
    }

    @Test("no request goes round in circles")
    func circles() async throws {
        try await CopiesFixture.run(2) { cluster in
            // Each is told that the other has the volume; neither has.
            cluster.master.set(9, cluster.servers.map(\.service.url))
            #expect(try await cluster[0].send("GET", "/9,01637037d6").status == 404)
            let write = try await cluster[0].post("/9,01637037d6", [1])
            #expect(write.status == 500)
            #expect(write.text.contains("volume 9 not found on \(cluster[1].service.url)"))
            #expect(try await cluster[0].send("DELETE", "/9,01637037d6").status == 404)
            let replica = try await cluster[0].post("/9,01637037d6?type=replicate", [1])
            #expect(replica.text.contains("volume 9 not found on \(cluster[0].service.url)"))
        }
    }

    @Test("local mode answers for this server alone")
    func local() async throws {
        try await CopiesFixture.run(2, { $0.readMode = .local }) { cluster in
            try await cluster.makeVolume(3, on: [0], replication: 0)
            #expect(try await cluster[0].post(Self.path, [65]).status == 201)
            #expect(try await cluster[1].send("GET", Self.path).status == 404)
        }
    }

    @Test("a damaged copy is read from another holder")
    func damaged() async throws {
        try await CopiesFixture.run(2) { cluster in
            try await cluster.makeVolume(3, on: [0, 1])
            let data = Array("a text that is easily found in a file".utf8)
            #expect(try await cluster[0].post(Self.path, data, filename: "a.bin").status == 201)
            let file = URL(fileURLWithPath: cluster[0].directory + "/3.dat")
            let handle = try FileHandle(forUpdating: file)
            let bytes = try #require(try handle.readToEnd())
            let place = try #require(bytes.firstRange(of: Data(data))?.lowerBound)
            try handle.seek(toOffset: UInt64(place))
            try handle.write(contentsOf: Data("X".utf8))
            try handle.close()
            let got = try await cluster[0].send("GET", Self.path)
            #expect(got.status == 200)
            #expect(got.body == data)
            #expect(got["content-disposition"] == "inline; filename=a.bin")
            // Another server that asks learns the truth about this copy.
            #expect(try await cluster[0].send("GET", Self.path + "?proxied=true").status == 500)
            await cluster.stop(1)
            #expect(try await cluster[0].send("GET", Self.path).status == 500)
            try await cluster.restart(1)
        }
    }

    @Test("a missing copy is read from another holder, a deleted one is not")
    func missing() async throws {
        try await CopiesFixture.run(2) { cluster in
            try await cluster.makeVolume(3, on: [0, 1])
            #expect(
                try await cluster[1].post(Self.path + "?type=replicate", [65]).status == 201)
            #expect(try await cluster[0].send("GET", Self.path).text == "A")
            #expect(try await cluster[0].send("GET", Self.path + "?proxied=true").status == 404)
            #expect(try await cluster[0].post("/3,02637037d6", [66]).status == 201)
            let deleted = try await cluster[0].send("DELETE", "/3,02637037d6?type=replicate")
            #expect(deleted.status == 202)
            #expect(try await cluster[0].send("GET", "/3,02637037d6").status == 404)
            #expect(try await cluster[1].send("GET", "/3,02637037d6").status == 200)
        }
    }

    @Test("chunks on other servers are joined, and deleted with their manifest")
    func chunks() async throws {
        var generator = ReadNoise(seed: 33)
        let far = generator.bytes(700_000)
        try await CopiesFixture.run(3) { cluster in
            try await cluster.makeVolume(4, on: [0], replication: 0)
            try await cluster.makeVolume(5, on: [1, 2])
            #expect(try await cluster[0].post("/4,01637037d6", Array("near ".utf8)).status == 201)
            #expect(try await cluster[1].post("/5,02637037d6", far).status == 201)
            let manifest = """
                {"name":"big.bin","size":700005,"chunks":[\
                {"fid":"4,01637037d6","offset":0,"size":5},\
                {"fid":"5,02637037d6","offset":5,"size":700000}]}
                """
            #expect(
                try await cluster[0].post("/4,03637037d6?cm=true", Array(manifest.utf8)).status
                    == 201)
            let got = try await cluster[0].send("GET", "/4,03637037d6")
            #expect(got.status == 200)
            #expect(got.body == Array("near ".utf8) + far)
            // One of the two holders is enough.
            await cluster.stop(2)
            #expect(try await cluster[0].send("GET", "/4,03637037d6").body.count == 700_005)
            try await cluster.restart(2)
            let deleted = try await cluster[0].send("DELETE", "/4,03637037d6")
            #expect(deleted.status == 202, "\(deleted.text)")
            #expect(deleted.text == #"{"size":700005}"#)
            for index in [1, 2] { #expect(try cluster.stored(index, "5,02637037d6") == nil) }
        }
    }
}
