import Model
import Testing

@testable import Volume

@Suite struct DeleteTests {
    @Test func deletesOnceAndTellsTheSize() async throws {
        try await ServiceFixture.run { server async throws in
            _ = try await server.post("/3,01637037d6", Array("hello".utf8), filename: "a.bin")
            let wrong = try await server.send("DELETE", "/3,01deadbeef")
            #expect(wrong.status == 400)
            #expect(wrong.text == #"{"error":"File Random Cookie does not match."}"#)
            let deleted = try await server.send("DELETE", "/3,01637037d6")
            #expect(deleted.status == 202)
            // data 5 + 4 + 1 + (1 + name 5) + (1 + mime 0) + 5
            #expect(deleted.text == #"{"size":22}"#)
            let again = try await server.send("DELETE", "/3,01637037d6")
            #expect(again.status == 404)
            #expect(again.text == #"{"size":0}"#)
            #expect(try await server.send("GET", "/3,01637037d6").status == 404)
            #expect(try await server.send("DELETE", "/99,01637037d6").text == #"{"size":0}"#)
            #expect(try await server.send("DELETE", "/3,zz").status == 400)
        }
    }

    @Test func slashFormAndDelta() async throws {
        try await ServiceFixture.run { server async throws in
            for id in ["/3,01637037d6", "/3,01637037d6_1", "/3,01637037d6_2"] {
                #expect(try await server.post(id, [1, 2, 3]).status == 201)
            }
            #expect(try await server.send("DELETE", "/3/01637037d6").status == 202)
            #expect(try await server.send("DELETE", "/3/02637037d6.jpg").status == 202)
            #expect(try await server.send("DELETE", "/3/01637037d6_2/name.jpg").status == 202)
            #expect(try await server.send("GET", "/3,03637037d6").status == 404)
        }
    }

    @Test func emptyFileHasSizeZero() async throws {
        try await ServiceFixture.run { server async throws in
            _ = try await server.post("/3,01637037d6", [], filename: "e")
            let deleted = try await server.send("DELETE", "/3,01637037d6")
            #expect(deleted.status == 202)
            #expect(deleted.text == #"{"size":0}"#)
        }
    }

    @Test func manifestTakesItsChunksAlong() async throws {
        try await ServiceFixture.run { server async throws in
            _ = try await server.post("/3,01637037d6", Array("hello ".utf8), filename: "c-1")
            _ = try await server.post("/3,02637037d6", Array("world".utf8), filename: "c-2")
            let manifest = """
                {"name":"big.bin","size":11,"chunks":[{"fid":"3,01637037d6","offset":0,"size":6},\
                {"fid":"3,02637037d6","offset":6,"size":5}]}
                """
            let stored = try await server.post(
                "/3,03637037d6?cm=true", Array(manifest.utf8), type: "application/json")
            #expect(stored.status == 201)
            #expect(try await server.send("GET", "/3,03637037d6").text == "hello world")
            let deleted = try await server.send("DELETE", "/3,03637037d6")
            #expect(deleted.status == 202)
            #expect(deleted.text == #"{"size":11}"#)
            for id in ["/3,01637037d6", "/3,02637037d6", "/3,03637037d6"] {
                #expect(try await server.send("GET", id).status == 404)
            }
        }
    }

    @Test func manifestThatCannotBeFollowedStays() async throws {
        try await ServiceFixture.run { server async throws in
            _ = try await server.post("/3,01637037d6?cm=true", Array("no json".utf8))
            let bad = try await server.send("DELETE", "/3,01637037d6")
            #expect(bad.status == 500)
            #expect(bad.text == #"{"error":"Load chunks manifest error: invalid JSON"}"#)
            let elsewhere = #"{"size":1,"chunks":[{"fid":"77,01637037d6","offset":0,"size":1}]}"#
            _ = try await server.post("/3,02637037d6?cm=true", Array(elsewhere.utf8))
            let remote = try await server.send("DELETE", "/3,02637037d6")
            #expect(remote.status == 500)
            #expect(
                remote.text
                    == #"{"error":"Delete chunks error: chunk 77,01637037d6: volume 77 is not on this server"}"#
            )
            #expect(try await server.send("GET", "/3,02637037d6?cm=false").status == 200)
        }
    }

    @Test func batch() async throws {
        try await ServiceFixture.run { server async throws in
            _ = try await server.post("/3,01637037d6", [1], filename: "a")
            _ = try await server.post("/3,02637037d6", [1], filename: "b")
            let answer = try await server.send(
                "POST", "/delete?fid=3,01637037d6&fid=3,02deadbeef&fid=x&fid=9,01637037d6", body: []
            )
            #expect(answer.status == 202)
            #expect(
                answer.text
                    == #"[{"fid":"3,01637037d6","size":14},"#
                    + #"{"fid":"3,02deadbeef","size":0,"error":"File Random Cookie does not match."},"#
                    + #"{"fid":"x","size":0,"error":"Invalid fid: x"},"#
                    + #"{"fid":"9,01637037d6","size":0,"error":"volume 9 not found"}]"#)
        }
    }
}
