import HTTPServer
import Model
import NIOCore
import Synchronization
import Testing
import Wire

@testable import Master

@Suite struct SubmitTests {
    /// What a volume server was sent.
    struct Upload: Sendable {
        var method = ""
        var target = ""
        var headers: [String: String] = [:]
        var body = ""
        var count = 0
    }

    /// Runs `body` with a master and a volume server that answers every upload with `reply`.
    private func withCluster(
        reply: @escaping @Sendable (Exchange) -> Void,
        _ body: (MasterService, Int, @Sendable () -> Upload) async throws -> Void
    ) async throws {
        let last = Mutex(Upload())
        try await withVolumeHTTP({ request, exchange in
            exchange.readBody(limit: 1 << 30) { result in
                let bytes = (try? result.get()) ?? ByteBuffer()
                last.withLock {
                    $0 = Upload(
                        method: "\(request.method)",
                        target: request.path + (request.hasQuery ? "?\(request.rawQuery)" : ""),
                        headers: Dictionary(
                            request.headers.map { ($0.name.lowercased(), $0.value) }
                        ) { first, _ in first },
                        body: String(
                            buffer: bytes.getSlice(
                                at: bytes.readerIndex, length: min(bytes.readableBytes, 4096))
                                ?? ByteBuffer()), count: bytes.readableBytes)
                }
                reply(exchange)
            }
        }) { port in
            try await withMaster { master in
                let server = FakeServer("127.0.0.1:\(port)")
                _ = try await master.peer.report(server.report, from: server)
                try await body(master, port) { last.withLock { $0 } }
            }
        }
    }

    private static func created(_ exchange: Exchange, _ json: String) {
        exchange.respond(201, body: .bytes(ByteBuffer(string: json)))
    }

    @Test func aRawBodyIsNamedSubmit() async throws {
        try await withCluster(reply: {
            SubmitTests.created($0, #"{"name":"submit","size":11,"eTag":"c99465aa"}"#)
        }) { master, port, upload in
            let answer = try await http(
                master.port, "POST", "/submit?ts=1400000000&ttl=3m&pretty=",
                headers: [
                    ("Content-Type", "text/plain"), ("Seaweed-Foo", "bar"), ("X-Other", "y"),
                ],
                body: "hello world")
            #expect(answer.status == 201)
            let shape = try Regex(
                #"^\{"eTag":"c99465aa","fid":"([0-9]+,[0-9a-f]{10})","fileName":"submit","#
                    + #""fileUrl":"127.0.0.1:\#(port)/[0-9]+,[0-9a-f]{10}","size":11\}$"#)
            #expect(answer.body.contains(shape), "\(answer.body)")
            let sent = upload()
            #expect(sent.method == "POST")
            let target = try Regex(#"^/[0-9]+,[0-9a-f]{10}\?ts=1400000000&ttl=3m$"#)
            #expect(sent.target.contains(target), "\(sent.target)")
            #expect(sent.body == "hello world")
            #expect(sent.headers["content-type"] == "text/plain")
            #expect(sent.headers["content-length"] == "11")
            #expect(sent.headers["content-disposition"] == #"inline; filename="submit""#)
            #expect(sent.headers["seaweed-foo"] == "bar")
            #expect(sent.headers["x-other"] == nil)
        }
    }

    @Test func multipartIsPassedOnAsItIs() async throws {
        let form =
            "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"hello.txt\"\r\n\r\n"
            + "hello\r\n--b--\r\n"
        try await withCluster(reply: {
            SubmitTests.created($0, #"{"name":"hello.txt","eTag":"00000000"}"#)
        }) { master, _, upload in
            let answer = try await http(
                master.port, "POST", "/submit",
                headers: [("Content-Type", "multipart/form-data; boundary=b")], body: form)
            #expect(answer.status == 201)
            #expect(answer.body.contains(#""fileName":"hello.txt""#))
            #expect(answer.body.hasSuffix(#""size":0}"#))
            let sent = upload()
            #expect(sent.body == form)
            #expect(sent.headers["content-disposition"] == nil)
        }
    }

    @Test func aLargeBodyStreams() async throws {
        let size = 9 << 20
        try await withCluster(reply: { SubmitTests.created($0, #"{"size":9437184}"#) }) {
            master, _, upload in
            let answer = try await http(
                master.port, "POST", "/submit",
                headers: [("Content-Type", "application/octet-stream")],
                body: String(repeating: "x", count: size))
            #expect(answer.status == 201)
            #expect(upload().count == size)
        }
    }

    @Test func chunkedBodiesStayChunked() async throws {
        try await withCluster(reply: { SubmitTests.created($0, #"{"size":5}"#) }) {
            master, _, upload in
            let answer = try await http(
                master.port, "POST", "/submit",
                headers: [("Content-Type", "text/plain"), ("Transfer-Encoding", "chunked")],
                chunks: "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")
            #expect(answer.status == 201)
            #expect(upload().body == "hello")
            #expect(upload().headers["transfer-encoding"] == "chunked")
        }
    }

    @Test func refusalsOfTheVolumeServer() async throws {
        try await withCluster(reply: { $0.respondError(400, "bad form") }) { master, _, _ in
            let answer = try await http(
                master.port, "POST", "/submit", headers: [("Content-Type", "a/b")], body: "x")
            #expect(answer.status == 400)
            #expect(answer.body == #"{"error":"bad form"}"#)
        }
        try await withCluster(reply: { $0.respond(503, body: .empty) }) { master, _, _ in
            let answer = try await http(
                master.port, "POST", "/submit", headers: [("Content-Type", "a/b")], body: "x")
            #expect(answer.status == 500)
            #expect(answer.body == #"{"error":"the volume server answered 503"}"#)
        }
    }

    @Test func requestsThatCannotBe() async throws {
        try await withMaster { master in
            let read = try await http(master.port, "GET", "/submit")
            #expect(read.status == 405)
            #expect(read.body == #"{"error":"Only submit via POST!"}"#)
            let count = try await http(master.port, "POST", "/submit?count=x", body: "a")
            #expect(count.status == 400)
            let none = try await http(master.port, "POST", "/submit", body: "a")
            #expect(none.status == 500)
            #expect(none.body.contains("no volume server is connected"))
            // A port on which nobody listens.
            let server = FakeServer("127.0.0.1:1")
            _ = try await master.peer.report(server.report, from: server)
            let dead = try await http(master.port, "POST", "/submit", body: "a")
            #expect(dead.status == 500)
            #expect(dead.body.contains("volume server 127.0.0.1:1 cannot be reached"))
        }
    }

    @Test func filesAreDeletedWhereTheyAre() async throws {
        try await withCluster(reply: { exchange in
            exchange.respond(202, body: .bytes(ByteBuffer(string: #"{"size":42}"#)))
        }) { master, _, upload in
            _ = try await http(master.port, "GET", "/vol/grow?count=1")
            let answer = try await http(
                master.port, "POST", "/delete?fid=1,01637037d6&fid=99,01637037d6&fid=x")
            #expect(answer.status == 202)
            #expect(
                answer.body == #"{"Errors":null,"Results":[{"fid":"1,01637037d6","size":42},"#
                    + #"{"fid":"99,01637037d6","size":0,"error":"volume id 99 not found"},"#
                    + #"{"fid":"x","size":0,"error":"Invalid fid: x"}]}"#)
            #expect(upload().method == "DELETE")
            #expect(upload().target == "/1,01637037d6")
        }
    }
}

@Suite struct UpstreamResponseTests {
    /// Feeds an answer in pieces of `size` bytes, then closes.
    private func read(_ text: String, pieces size: Int) throws -> UpstreamAnswer {
        var response = UpstreamResponse(address: "v:1")
        var rest = ByteBuffer(string: text)
        while let piece = rest.readSlice(length: min(size, rest.readableBytes)),
            piece.readableBytes > 0
        {
            if let answer = try response.feed(piece) { return answer }
        }
        return try response.finish()
    }

    @Test(arguments: [
        ("HTTP/1.1 201 Created\r\nContent-Length: 3\r\n\r\nabc", 201, "abc"),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200, ""),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
            200, "abc"
        ),
        ("HTTP/1.0 404 Not Found\r\n\r\nuntil close", 404, "until close"),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
    ])
    func answers(_ text: String, _ status: Int, _ body: String) throws {
        for size in [1, 2, 7, 1000] {
            let answer = try read(text, pieces: size)
            #expect(answer.status == status)
            #expect(String(decoding: answer.body, as: UTF8.self) == body)
        }
    }

    @Test(arguments: [
        ("", "volume server v:1 closed the connection before it answered"),
        (
            "HTTP/1.1 200 OK\r\nContent-Le",
            "volume server v:1 closed the connection before it answered"
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
            "volume server v:1 closed the connection before it answered"
        ),
        ("nonsense\r\n\r\n", "volume server v:1 sent an answer that is not HTTP: no status line"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\n",
            "volume server v:1 sent an answer that is not HTTP: content length \"-4\""
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n",
            "volume server v:1 sent an answer of more than 65536 bytes"
        ),
    ])
    func faults(_ text: String, _ message: String) {
        for size in [1, 1000] {
            #expect {
                try read(text, pieces: size)
            } throws: { error in
                "\(error)" == message
            }
        }
    }

    @Test func addressesAreTakenApart() {
        #expect(UpstreamClient.split("a:1")?.host == "a")
        #expect(UpstreamClient.split("[::1]:8080")?.host == "::1")
        for bad in ["a", ":1", "a:", "a:0", "a:65536", "a:x"] {
            #expect(UpstreamClient.split(bad) == nil)
        }
    }
}
