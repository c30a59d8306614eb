import HTTPServer
import NIOCore
import NIOPosix
import Testing

/// Requests and answers as a well-behaved client sees them.
@Suite struct ServerTests {
    /// Answers with method, path and body.
    static func echo(_ request: HTTPRequest, _ exchange: Exchange) {
        let line = "\(request.method) \(request.path)?\(request.rawQuery) "
        exchange.readBody(limit: 1 << 20) { result in
            switch result {
            case .success(let body):
                var answer = ByteBuffer(string: line)
                answer.writeImmutableBuffer(body)
                exchange.respond(200, body: .bytes(answer)) {
                    $0.add("X-Length", answer.readableBytes)
                }
            case .failure(let error):
                exchange.respondError(error.status, "\(error)")
            }
        }
    }

    @Test func answersOneAfterTheOther() async throws {
        try await withServer(handler: Self.echo) { server in
            let client = try Client(port: server.port)
            let first = try client.ask("GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n")
            #expect(first.text == "GET /a?b ")
            #expect(first.headers["x-length"] == "9" && first.headers["content-length"] == "9")
            #expect(first.head.hasPrefix("HTTP/1.1 200 OK\n"))
            #expect(first.headers["date"].flatMap { HTTPDate.parse($0) } != nil)
            #expect(first.headers["connection"] == nil)
            let second = try client.ask(
                "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello")
            #expect(second.text == "POST /p? hello")
            let third = try client.ask(
                "PUT /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                    + "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
            #expect(third.text == "PUT /c? abcde")
            let last = try client.ask("GET /z HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            #expect(last.headers["connection"] == "close" && last.text == "GET /z? ")
            #expect(try client.isClosedByServer())
        }
    }

    @Test func speaksHTTP10() async throws {
        try await withServer(handler: Self.echo) { server in
            let client = try Client(port: server.port)
            let kept = try client.ask("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            #expect(kept.head.hasPrefix("HTTP/1.0 200 OK\n"))
            #expect(kept.headers["connection"] == "keep-alive" && kept.text == "GET /a? ")
            let last = try client.ask("GET /b HTTP/1.0\r\n\r\n")
            #expect(last.headers["connection"] == "close" && last.text == "GET /b? ")
            #expect(try client.isClosedByServer())
        }
    }

    @Test func answersPipelinedRequestsInOrder() async throws {
        try await withServer(handler: Self.echo) { server in
            let client = try Client(port: server.port)
            let count = 5_000
            var all = ""
            for index in 0..<count {
                all += "POST /\(index) HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
            }
            // All at once fits into the buffers between the two; the answers too.
            try client.send(all)
            for index in 0..<count {
                let answer = try client.readAnswer()
                try #require(answer?.text == "POST /\(index)? abc")
            }
        }
    }

    @Test func pipelinedRequestsWaitForLateAnswers() async throws {
        let active = Recorder<Int>()
        try await withServer { request, exchange in
            active.add(1)
            exchange.eventLoop.scheduleTask(in: .milliseconds(2)) {
                #expect(active.all.reduce(0, +) == 1, "two requests of a connection at once")
                active.add(-1)
                exchange.respond(200, body: .bytes(ByteBuffer(string: request.path)))
            }
        } _: { server in
            let client = try Client(port: server.port)
            try client.send((0..<20).map { "GET /\($0) HTTP/1.1\r\nHost: h\r\n\r\n" }.joined())
            for index in 0..<20 { #expect(try client.readAnswer()?.text == "/\(index)") }
        }
    }

    @Test(arguments: [1, 2, 7, 40])
    func requestsInPieces(_ size: Int) async throws {
        try await withServer(handler: Self.echo) { server in
            let client = try Client(port: server.port)
            let text =
                "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n0123456789"
                + "PUT /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                + "a\r\n0123456789\r\n0\r\n\r\n"
            var rest = Array(text.utf8)[...]
            while !rest.isEmpty {
                try client.send(Array(rest.prefix(size)))
                rest = rest.dropFirst(size)
            }
            #expect(try client.readAnswer()?.text == "POST /p? 0123456789")
            #expect(try client.readAnswer()?.text == "PUT /c? 0123456789")
        }
    }

    @Test func headsHaveNoBody() async throws {
        try await withServer { request, exchange in
            switch request.path {
            case "/bytes": exchange.respond(200, body: .bytes(ByteBuffer(string: "hello")))
            case "/omitted": exchange.respond(200, body: .omitted(length: 77))
            case "/304": exchange.respond(304, body: .none)
            case "/204": exchange.respond(204, body: .bytes(ByteBuffer(string: "dropped")))
            default: exchange.respond(404, body: .empty)
            }
        } _: { server in
            let client = try Client(port: server.port)
            func head(_ path: String) throws -> Answer {
                try client.ask("HEAD \(path) HTTP/1.1\r\nHost: h\r\n\r\n", toHead: true)
            }
            #expect(try head("/bytes").headers["content-length"] == "5")
            #expect(try head("/omitted").headers["content-length"] == "77")
            #expect(try head("/else").headers["content-length"] == "0")
            for path in ["/304", "/204"] {
                let answer = try client.ask("GET \(path) HTTP/1.1\r\nHost: h\r\n\r\n")
                #expect("/\(answer.status)" == path)
                #expect(answer.headers["content-length"] == nil)
            }
            let omitted = try client.ask("GET /omitted HTTP/1.1\r\nHost: h\r\n\r\n")
            #expect(omitted.headers["content-length"] == "0")
        }
    }

    @Test func saysContinueWhenTheBodyIsWanted() async throws {
        try await withServer { request, exchange in
            guard request.path == "/wanted" else {
                return exchange.respond(403, body: .empty)
            }
            Self.echo(request, exchange)
        } _: { server in
            let head = " HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
            let client = try Client(port: server.port)
            #expect(try client.ask("PUT /wanted" + head).status == 100)
            #expect(try client.ask("hello").text == "PUT /wanted? hello")
            let refused = try client.ask("PUT /other" + head)
            #expect(refused.status == 403 && refused.headers["connection"] == "close")
            #expect(try client.isClosedByServer())
            // A body over the limit is refused before it is sent.
            let large = try Client(port: server.port).ask(
                "PUT /wanted HTTP/1.1\r\nHost: h\r\nContent-Length: 2000000\r\n"
                    + "Expect: 100-continue\r\n\r\n")
            #expect(large.status == 413)
        }
    }

    @Test func answersFromOtherThreads() async throws {
        let pool = NIOThreadPool.singleton
        try await withServer { request, exchange in
            pool.submit { _ in
                if request.path == "/execute" {
                    exchange.eventLoop.execute {
                        exchange.respond(200, body: .bytes(ByteBuffer(string: "late")))
                    }
                } else {
                    exchange.mailbox.enqueue(exchange) { exchange in
                        exchange.respond(200, body: .bytes(ByteBuffer(string: "mailed")))
                    }
                }
            }
        } _: { server in
            let clients = try (0..<20).map { _ in try Client(port: server.port) }
            for round in 0..<50 {
                let path = round % 2 == 0 ? "/execute" : "/mail"
                for client in clients { try client.send("GET \(path) HTTP/1.1\r\nHost: h\r\n\r\n") }
                for client in clients {
                    let text = try client.readAnswer()?.text
                    #expect(text == (round % 2 == 0 ? "late" : "mailed"))
                }
            }
        }
    }

    @Test func convenientAnswers() async throws {
        try await withServer { request, exchange in
            if request.path == "/json" {
                exchange.respondJSON(201, bytes: Array("{}".utf8)) { $0.add("Etag", "x") }
            } else {
                exchange.respondError(400, "no \"such\" path")
            }
        } _: { server in
            let client = try Client(port: server.port)
            let json = try client.ask("GET /json HTTP/1.1\r\nHost: h\r\n\r\n")
            #expect(json.status == 201 && json.text == "{}" && json.headers["etag"] == "x")
            #expect(json.headers["content-type"] == "application/json")
            #expect(json.headers["x-content-type-options"] == "nosniff")
            let error = try client.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            #expect(error.status == 400 && error.text == #"{"error":"no \"such\" path"}"#)
        }
    }

    @Test func tellsTheClientsAddress() async throws {
        try await withServer(host: "::") { _, exchange in
            let text =
                "\(exchange.remoteAddress) \(exchange.isFromLoopback) \(exchange.isConnected)"
            exchange.respond(200, body: .bytes(ByteBuffer(string: text)))
        } _: { server in
            let answer = try Client(port: server.port).ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            #expect(answer.text == "127.0.0.1 true true")
        }
    }

    @Test func bindsNames() async throws {
        try await withServer(host: "localhost", handler: Self.echo) { server in
            #expect(server.port > 0)
        }
        await #expect(throws: (any Error).self) {
            try await withServer(host: "no such host.invalid", handler: Self.echo) { _ in }
        }
    }

    @Test func anExchangeLetGoIsAnswered() async throws {
        try await withServer { _, _ in
        } _: { server in
            let answer = try Client(port: server.port).ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            #expect(answer.status == 500)
        }
    }

    @Test func secondAnswersAreIgnored() async throws {
        let finished = Recorder<Bool>()
        try await withServer { request, exchange in
            exchange.respond(200, body: .bytes(ByteBuffer(string: request.path)))
            let source = PieceSource(pieces: 3, bytes: 3) { finished.add(true) }
            exchange.respond(500, body: .stream(length: nil, source: source))
        } _: { server in
            let client = try Client(port: server.port)
            #expect(try client.ask("GET /a HTTP/1.1\r\nHost: h\r\n\r\n").text == "/a")
            #expect(try client.ask("GET /b HTTP/1.1\r\nHost: h\r\n\r\n").text == "/b")
            #expect(finished.all.count == 2)
        }
    }
}
