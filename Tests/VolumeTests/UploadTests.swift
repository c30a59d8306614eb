import Model
import NIOCore
import Testing

@testable import Volume

@Suite struct UploadTests {
    @Test func multipartAndBack() async throws {
        try await ServiceFixture.run { server async throws in
            let answer = try await server.post(
                "/3,01637037d6", Array("123456789".utf8), filename: "hello.bin")
            #expect(answer.status == 201)
            #expect(answer.text == #"{"name":"hello.bin","size":9,"eTag":"e3069283"}"#)
            #expect(answer["etag"] == "\"e3069283\"")
            #expect(answer["content-md5"] == "")
            #expect(answer["content-type"] == "application/json")
            #expect(answer["x-content-type-options"] == "nosniff")
            #expect(answer["server"] == "SeaweedFS Volume 0.1")
            let read = try await server.send("GET", "/3,01637037d6")
            #expect(read.status == 200)
            #expect(read.text == "123456789")
            #expect(read["etag"] == "\"e3069283\"")
            // The same again is a success like the first.
            let again = try await server.post(
                "/3,01637037d6", Array("123456789".utf8), filename: "hello.bin")
            #expect(again.status == 201)
            #expect(again.text == answer.text)
        }
    }

    @Test func rawBodies() async throws {
        try await ServiceFixture.run { server async throws in
            let body = Array("raw bytes".utf8)
            let put = try await server.send("PUT", "/3,02637037d6?pretty=1", body: body)
            #expect(put.status == 201)
            #expect(
                put.text.hasPrefix("{\n  \"name\": \"3,02637037d6\",\n  \"size\": 9,\n  \"eTag\": ")
            )
            let form = try await server.send(
                "POST", "/3,03637037d6", [("Content-Type", "application/x-www-form-urlencoded")],
                body: body)
            #expect(form.status == 201)
            #expect(try await server.send("GET", "/3,03637037d6").text == "raw bytes")
            let named = try await server.send(
                "PUT", "/3,04637037d6",
                [
                    ("Content-Disposition", "attachment; filename=\"a/b.json\""),
                    ("Content-MD5", "4NJk61wGHlgBEEVSo8+9vA=="),
                ], body: Array("[1]".utf8))
            #expect(named.status == 400)
            #expect(
                named.text
                    == "{\"error\":\"Content-MD5 did not match md5 of file data expected "
                    + "[4NJk61wGHlgBEEVSo8+9vA==] received [NcEayKKSHskz69LOtIGidQ==] size 3\"}"
                    || named.text.contains("size 3"))
            let right = try await server.send(
                "PUT", "/3,04637037d6",
                [
                    ("Content-Disposition", "attachment; filename=\"a/b.json\""),
                    ("Content-MD5", "XrY7u+Ae7tCTyyK7j1rNww=="),
                ], body: Array("hello world".utf8))
            #expect(right.status == 201)
            #expect(right["content-md5"] == "XrY7u+Ae7tCTyyK7j1rNww==")
            #expect(right.text.hasPrefix(#"{"name":"b.json","size":11,"#))
            #expect(
                right.text.hasSuffix(
                    #""mime":"application/json","contentMd5":"XrY7u+Ae7tCTyyK7j1rNww=="}"#))
        }
    }

    @Test func emptyFilesHaveNoSize() async throws {
        try await ServiceFixture.run { server async throws in
            let answer = try await server.post("/3,01637037d6", [], filename: "empty.txt")
            #expect(answer.status == 201)
            #expect(
                answer.text
                    == #"{"name":"empty.txt","eTag":"00000000","mime":"text/plain; charset=utf-8"}"#
            )
        }
    }

    @Test func compressesTextButNotReplicas() async throws {
        try await ServiceFixture.run { server async throws in
            let text = Array(String(repeating: "line of text\n", count: 500).utf8)
            let answer = try await server.post("/3,01637037d6", text, filename: "a.txt")
            #expect(answer.text.contains("\"size\":6500,"))
            let packed = try await server.send(
                "GET", "/3,01637037d6", [("Accept-Encoding", "gzip")])
            #expect(packed["content-encoding"] == "gzip")
            #expect(packed.body.count < 1000)
            #expect(try await server.send("GET", "/3,01637037d6").body == text)
            _ = try await server.post("/3,02637037d6?type=replicate", text, filename: "a.txt")
            let plain = try await server.send(
                "GET", "/3,02637037d6", [("Accept-Encoding", "gzip")])
            #expect(plain["content-encoding"] == nil)
            // What a client compressed is kept, and counted by what is inside.
            let sent = try await server.send(
                "PUT", "/3,03637037d6", [("Content-Encoding", "gzip")], body: packed.body)
            #expect(sent.text.contains("\"size\":6500,"))
            #expect(try await server.send("GET", "/3,03637037d6").body == text)
        }
    }

    @Test func pairsComeBack() async throws {
        try await ServiceFixture.run { server async throws in
            _ = try await server.post(
                "/3,01637037d6?ts=1400000000", Array("x".utf8), filename: "x.bin",
                headers: [("seaweed-owner", "alice"), ("Seaweed-Cache-Control", "no-store")])
            let read = try await server.send("GET", "/3,01637037d6")
            #expect(read["owner"] == "alice")
            #expect(read["cache-control"] == "no-store")
            #expect(read["last-modified"] == "Tue, 13 May 2014 16:53:20 GMT")
        }
    }

    @Test(arguments: [
        (
            "POST", "/x,01637037d6", 400,
            #"{"error":"strconv.ParseUint: parsing \"x\": invalid syntax"}"#
        ),
        ("POST", "/3,12", 400, #"{"error":"Invalid fid: 12"}"#),
        (
            "PUT", "/7/01637037d6", 400,
            #"{"error":"Parse needleId error: needle id /7/01 format error: strconv.ParseUint: parsing "#
                + #"\"/7/01\": invalid syntax"}"#
        ),
        (
            "POST", "/3,01637037d6", 400,
            #"{"error":"request Content-Type isn't multipart/form-data"}"#
        ),
        ("PATCH", "/3,01637037d6", 400, #"{"error":"unsupported method PATCH"}"#),
    ])
    func refusals(_ method: String, _ path: String, _ status: Int, _ text: String) async throws {
        try await ServiceFixture.run { server async throws in
            let answer = try await server.send(method, path, body: [1])
            #expect(answer.status == status)
            #expect(answer.text == text)
        }
    }

    @Test func refusalsOfVolumesAndCookies() async throws {
        try await ServiceFixture.run { server async throws in
            let nowhere = try await server.post("/999,01637037d6", [1])
            #expect(nowhere.status == 500)
            #expect(nowhere.text == "{\"error\":\"volume 999 not found on \(server.service.url)\"}")
            _ = try await server.post("/3,01637037d6", [1])
            let other = try await server.post("/3,01deadbeef", [1])
            #expect(other.status == 500)
            #expect(
                other.text
                    == #"{"error":"failed to write to local disk: mismatching cookie deadbeef"}"#)
            let noParts = try await server.send(
                "POST", "/3,02637037d6", [("Content-Type", "multipart/form-data; boundary=x")],
                body: Array("--x--\r\n".utf8))
            #expect(noParts.status == 400)
            #expect(noParts.text == #"{"error":"EOF"}"#)
        }
    }

    @Test func replicatedVolumesNeedTheirReplicas() async throws {
        try await ServiceFixture.run(replication: ReplicaPlacement(stored: 1)) {
            server async throws in
            let answer = try await server.post("/3,01637037d6", [1])
            #expect(answer.status == 500)
            #expect(
                answer.text
                    == #"{"error":"writable replication locations [1] is less than "#
                    + #"volume 3 replication copy count [2]"}"#
            )
            #expect(try await server.send("GET", "/3,01637037d6").status == 404)
            #expect(try await server.post("/3,01637037d6?type=replicate", [1]).status == 201)
        }
    }

    @Test func limitCountsTheFileAlone() async throws {
        try await ServiceFixture.run({ $0.fileSizeLimit = 1000 }) { server async throws in
            let fits = [UInt8](repeating: 7, count: 1000)
            #expect(try await server.post("/3,01637037d6", fits).status == 201)
            for (method, body) in [
                ("PUT", fits + [1]), ("PUT", [UInt8](repeating: 1, count: 2 << 20)),
            ] {
                let answer = try await server.send(method, "/3,02637037d6", body: body)
                #expect(answer.status == 400)
                #expect(answer.text == #"{"error":"file over the limited 1000 bytes"}"#)
            }
            let form = try await server.post("/3,02637037d6", fits + [1])
            #expect(form.status == 400)
            #expect(form.text == #"{"error":"file over the limited 1000 bytes"}"#)
            #expect(try await server.send("GET", "/3,02637037d6").status == 404)
            #expect(server.service.budget.used == 0)
        }
    }
}
