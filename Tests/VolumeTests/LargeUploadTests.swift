import NIOCore
import Testing

@testable import Volume

@Suite struct LargeUploadTests {
    private func noise(_ count: Int) -> [UInt8] {
        var state: UInt32 = 12345
        return (0..<count).map { _ in
            state = state &* 1_664_525 &+ 1_013_904_223
            return UInt8(truncatingIfNeeded: state >> 24)
        }
    }

    @Test func streamsThroughASpool() async throws {
        try await ServiceFixture.run { server async throws in
            let body = noise(5 << 20)
            let raw = try await server.send("PUT", "/3,01637037d6", body: body)
            #expect(raw.status == 201)
            #expect(raw.text.contains("\"size\":\(body.count),"))
            #expect(try await server.send("GET", "/3,01637037d6").body == body)
            let form = try await server.post("/3,02637037d6", body, filename: "big.bin")
            #expect(form.status == 201)
            #expect(form["etag"] == raw["etag"])
            #expect(try await server.send("GET", "/3,02637037d6").body == body)
            #expect(server.service.budget.used == 0)
            #expect(server.files.allSatisfy { $0.hasPrefix("3.") || !$0.contains("spool") })
        }
    }

    @Test func laterNamedPartWinsWhileStreaming() async throws {
        try await ServiceFixture.run { server async throws in
            let first = noise(1 << 20)
            let second = Array(first.reversed())
            var body = Array("--b\r\nContent-Disposition: form-data; name=a\r\n\r\n".utf8) + first
            body +=
                Array("\r\n--b\r\nContent-Disposition: form-data; filename=f.bin\r\n\r\n".utf8)
                + second
            body += Array("\r\n--b--\r\n".utf8)
            let answer = try await server.send(
                "POST", "/3,01637037d6", [("Content-Type", "multipart/form-data; boundary=b")],
                body: body)
            #expect(answer.status == 201)
            #expect(answer.text.hasPrefix("{\"name\":\"f.bin\",\"size\":\(second.count),"))
            #expect(try await server.send("GET", "/3,01637037d6").body == second)
        }
    }

    @Test func chunkedBodiesOfUnknownLength() async throws {
        try await ServiceFixture.run { server async throws in
            for (id, size) in [("/3,01637037d6", 10), ("/3,02637037d6", 3 << 20)] {
                let body = noise(size)
                var sent = Array(
                    "PUT \(id) HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
                        .utf8)
                for start in stride(from: 0, to: size, by: 100_000) {
                    let piece = body[start..<min(size, start + 100_000)]
                    sent +=
                        Array("\(String(piece.count, radix: 16))\r\n".utf8) + piece
                        + Array("\r\n".utf8)
                }
                sent += Array("0\r\n\r\n".utf8)
                let connection = try await server.connect()
                try await connection.send(sent)
                #expect(try await connection.answer().status == 201)
                #expect(try await server.send("GET", id).body == body)
            }
        }
    }

    @Test(arguments: [100, 600_000, 3_000_000])
    func clientThatDiesHalfWayLeavesNothing(_ sent: Int) async throws {
        try await ServiceFixture.run { server async throws in
            let before = server.files
            let connection = try await server.connect()
            let head = "PUT /3,01637037d6 HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n"
            try await connection.send(Array(head.utf8) + noise(sent))
            try await connection.close()
            // A later request of the same size goes through, and the memory of the dead one comes
            // back.
            #expect(
                try await server.send("PUT", "/3,02637037d6", body: noise(4_000_000)).status == 201)
            for _ in 0..<200 where server.service.budget.used > 0 {
                try await Task.sleep(nanoseconds: 10_000_000)
            }
            #expect(server.service.budget.used == 0)
            #expect(try await server.send("GET", "/3,01637037d6").status == 404)
            #expect(server.files == before)
        }
    }

    @Test func md5OfALargeBodyIsChecked() async throws {
        try await ServiceFixture.run { server async throws in
            let body = noise(2 << 20)
            var digest = UploadDigest(isGzip: false, needsMD5: true)
            digest.update(ByteBuffer(bytes: body))
            let md5 = digest.finish().md5 ?? ""
            let right = try await server.send(
                "PUT", "/3,01637037d6", [("Content-MD5", md5)], body: body)
            #expect(right.status == 201)
            #expect(right["content-md5"] == md5)
            let wrong = try await server.send(
                "PUT", "/3,02637037d6", [("Content-MD5", "AAAA")], body: body)
            #expect(wrong.status == 400)
            #expect(wrong.text.contains("expected [AAAA] received [\(md5)] size \(body.count)"))
            #expect(try await server.send("GET", "/3,02637037d6").status == 404)
        }
    }
}
