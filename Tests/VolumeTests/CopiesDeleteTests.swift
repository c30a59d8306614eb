import Model
import Needles
import Testing

@testable import Volume

@Suite("Deletes of large files and of files on several servers")
struct CopiesDeleteTests {
    @Test("a large file is deleted after a look at its flags, a large manifest with its chunks")
    func large() async throws {
        var generator = ReadNoise(seed: 34)
        let data = generator.bytes(600_000)
        try await CopiesFixture.run(2) { cluster in
            try await cluster.makeVolume(3, on: [0, 1])
            #expect(try await cluster[0].send("PUT", "/3,01637037d6", body: data).status == 201)
            let volume = try #require(cluster[0].service.store.volume(3))
            #expect(try !volume.isChunkManifest(1, cookie: 0x6370_37d6))
            #expect(try await cluster[0].send("DELETE", "/3,01637037d6").status == 202)
            #expect(try cluster.stored(1, "3,01637037d6") == nil)
            #expect(try await cluster[0].post("/3,02637037d6", [1]).status == 201)
            var manifest =
                #"{"size":1,"chunks":[{"fid":"3,02637037d6","offset":0,"size":1}],"pad":""#
            manifest += String(repeating: "x", count: 400_000) + #""}"#
            let stored = try await cluster[0].post("/3,03637037d6?cm=true", Array(manifest.utf8))
            #expect(stored.status == 201)
            #expect(try volume.isChunkManifest(3, cookie: 0x6370_37d6))
            #expect(try !volume.isChunkManifest(3, cookie: 0x6370_37d7))
            #expect(try !volume.isChunkManifest(9, cookie: 0x6370_37d6))
            #expect(try await cluster[1].send("DELETE", "/3,03637037d6").status == 202)
            for index in [0, 1] {
                #expect(try cluster.stored(index, "3,02637037d6") == nil)
                #expect(try cluster.stored(index, "3,03637037d6") == nil)
            }
            #expect(try !volume.isChunkManifest(3, cookie: 0x6370_37d6))
        }
    }

    @Test("many files are deleted at once, wherever they are")
    func batch() async throws {
        try await CopiesFixture.run(2) { cluster in
            try await cluster.makeVolume(3, on: [0, 1])
            try await cluster.makeVolume(4, on: [1], replication: 0)
            for id in ["3,01637037d6", "4,02637037d6"] {
                #expect(try await cluster[1].post("/\(id)", [1], filename: "a").status == 201)
            }
            let answer = try await cluster[0].send(
                "POST", "/delete?fid=3,01637037d6&fid=4,02637037d6&fid=4,03637037d6", body: [])
            #expect(answer.status == 202)
            #expect(
                answer.text.hasPrefix(
                    #"[{"fid":"3,01637037d6","size":14},{"fid":"4,02637037d6","size":14},"#))
            #expect(answer.text.contains(#""fid":"4,03637037d6","size":0,"error""#))
            #expect(try cluster.stored(1, "3,01637037d6") == nil)
            #expect(try cluster.stored(1, "4,02637037d6") == nil)
        }
    }
}
