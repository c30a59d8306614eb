import HTTPServer
import NIOCore
import Synchronization
import Testing

/// Notes what a body's sink is told.
final class NotingSink: BodySink {
    enum Note: Equatable, Sendable {
        case piece(Int), end, failed(BodyError)
    }

    let notes: Recorder<Note>
    private let onPiece: () -> Void
    private let onEnd: (BodyError?) -> Void

    init(
        _ notes: Recorder<Note>, onPiece: @escaping () -> Void = {},
        onEnd: @escaping (BodyError?) -> Void
    ) {
        self.notes = notes
        self.onPiece = onPiece
        self.onEnd = onEnd
    }

    func receive(_ piece: ByteBuffer) {
        notes.add(.piece(piece.readableBytes))
        onPiece()
    }

    func end() {
        notes.add(.end)
        onEnd(nil)
    }

    func failed(_ error: BodyError) {
        notes.add(.failed(error))
        onEnd(error)
    }
}

@Suite struct RequestBodyTests {
    typealias Note = NotingSink.Note

    private func post(_ lines: String, _ body: String = "") -> String {
        "POST / HTTP/1.1\r\nHost: h\r\n\(lines)\r\n\r\n\(body)"
    }

    private static func stream(
        _ notes: Recorder<Note>, limit: UInt64 = 1 << 30
    ) -> @Sendable (HTTPRequest, Exchange) -> Void {
        { _, exchange in
            exchange.readBody(
                limit: limit,
                into: NotingSink(notes) { error in
                    if let error {
                        exchange.respondError(error.status, "\(error)")
                    } else {
                        exchange.respond(201, body: .empty)
                    }
                })
        }
    }

    @Test func streamsPieces() async throws {
        let notes = Recorder<Note>()
        try await withServer(handler: Self.stream(notes)) { server in
            let client = try Client(port: server.port)
            let body = String(repeating: "x", count: 3_000_000)
            #expect(try client.ask(post("Content-Length: 3000000", body)).status == 201)
            let sizes = notes.all.map { if case .piece(let size) = $0 { size } else { 0 } }
            #expect(sizes.reduce(0, +) == 3_000_000 && notes.all.last == .end)
            #expect(sizes.allSatisfy { $0 <= 128 << 10 })
            let chunks = "2dc6c0\r\n\(body)\r\n0\r\n\r\n"
            #expect(try client.ask(post("Transfer-Encoding: chunked", chunks)).status == 201)
            #expect(try client.ask(post("Content-Length: 0")).status == 201)
        }
    }

    @Test func collectsLargeBodies() async throws {
        try await withServer { _, exchange in
            exchange.readBody(limit: 10_000_000) { result in
                guard case .success(let body) = result else { return }
                exchange.respond(200, body: .bytes(body))
            }
        } _: { server in
            let client = try Client(port: server.port)
            for count in [0, 1, 100_000, 3_000_000] {
                let body = String(repeating: "0123456789", count: count / 10 + 1)
                let size = body.utf8.count
                let plain = try client.ask(post("Content-Length: \(size)", body))
                #expect(plain.text == body)
                let hex = String(size, radix: 16)
                let coded = "\(hex)\r\n\(body)\r\n3\r\nend\r\n0\r\n\r\n"
                #expect(
                    try client.ask(post("Transfer-Encoding: chunked", coded)).text == body + "end")
            }
        }
    }

    @Test func pausingHoldsTheClientBack() async throws {
        let notes = Recorder<Note>()
        let paused = Mutex<Exchange?>(nil)
        try await withServer { _, exchange in
            exchange.readBody(
                limit: 1 << 30,
                into: NotingSink(notes) {
                    guard notes.all.count == 1 else { return }
                    exchange.pauseReading()
                    paused.withLock { $0 = exchange }
                } onEnd: { _ in
                    exchange.respond(201, body: .empty)
                })
        } _: { server in
            let size = 40_000_000
            let client = try Client(port: server.port)
            let sender = Task.detached {
                try client.ask(
                    post("Content-Length: \(size)", String(repeating: "x", count: size))
                ).status
            }
            #expect(try await eventually { paused.withLock { $0 != nil } })
            try await Task.sleep(for: .milliseconds(100))
            #expect(notes.all.count == 1, "a paused sink was given more")
            let exchange = try #require(paused.withLock { $0 })
            exchange.eventLoop.execute { exchange.resumeReading() }
            #expect(try await sender.value == 201)
        }
    }

    @Test(arguments: [
        "Content-Length: 2000", "Transfer-Encoding: chunked",
    ])
    func bodiesOverTheLimitAreDrainedAndAnswered(_ framing: String) async throws {
        let notes = Recorder<Note>()
        try await withServer(handler: Self.stream(notes, limit: 1_000)) { server in
            let client = try Client(port: server.port)
            let body = String(repeating: "x", count: 2_000)
            let sent = framing.contains("chunked") ? "7d0\r\n\(body)\r\n0\r\n\r\n" : body
            let answer = try client.ask(post(framing, sent))
            #expect(answer.status == 413 && answer.headers["connection"] == "close")
            #expect(answer.text.contains("larger than 1000 bytes"))
            #expect(notes.all.last == .failed(.tooLarge(limit: 1_000)))
            #expect(try client.isClosedByServer())
        }
    }

    @Test func endlessBodiesAreCutOff() async throws {
        var limits = Limits()
        limits.drainBytes = 100_000
        try await withServer(limits: limits) { _, exchange in
            exchange.readBody(limit: 10) { result in
                if case .failure(let error) = result { exchange.respondError(413, "\(error)") }
            }
        } _: { server in
            let client = try Client(port: server.port)
            try client.send(post("Transfer-Encoding: chunked"))
            let chunk = Array(("1000\r\n" + String(repeating: "x", count: 4096) + "\r\n").utf8)
            var sent = 0
            while client.trySend(chunk) == chunk.count, sent < 100 << 20 { sent += chunk.count }
            #expect(sent < 50 << 20, "took \(sent) bytes of a body that was refused")
        }
    }

    @Test func unreadBodiesAreDrained() async throws {
        var limits = Limits()
        limits.drainBytes = 100_000
        try await withServer(limits: limits) { _, exchange in
            exchange.respond(200, body: .empty)
        } _: { server in
            let client = try Client(port: server.port)
            let small = String(repeating: "x", count: 50_000)
            for _ in 0..<3 {
                #expect(try client.ask(post("Content-Length: 50000", small)).status == 200)
            }
            let chunks = "c350\r\n\(small)\r\n0\r\n\r\n"
            #expect(try client.ask(post("Transfer-Encoding: chunked", chunks)).status == 200)
            let large = try client.ask(post("Content-Length: 200000"))
            #expect(large.status == 200 && large.headers["connection"] == "close")
        }
    }

    @Test func halfClosedClientsGetTheirAnswer() async throws {
        try await withServer { _, exchange in
            exchange.readBody(limit: 1 << 20) { result in
                guard case .success(let body) = result else { return }
                // Late, and with a body, so that the end of input is seen first.
                exchange.eventLoop.scheduleTask(in: .milliseconds(20)) {
                    exchange.respond(200, body: .bytes(body))
                }
            }
        } _: { server in
            for size in [3, 700_000] {
                let client = try Client(port: server.port)
                let body = String(repeating: "x", count: size)
                try client.send(post("Content-Length: \(size)", body))
                client.shutdownWrite()
                let answer = try client.readAnswer()
                #expect(answer?.text == body && answer?.headers["connection"] == "close")
                #expect(try client.isClosedByServer())
            }
            let pipelined = try Client(port: server.port)
            let one = post("Content-Length: 1", "x")
            try pipelined.send(one + one + one + "POST / HT")
            pipelined.shutdownWrite()
            for _ in 0..<3 { #expect(try pipelined.readAnswer()?.status == 200) }
            #expect(try pipelined.isClosedByServer())
        }
    }

    @Test func lateEndsOfInputDoNotCutAnswersOff() async throws {
        let body = ByteBuffer(repeating: 0x61, count: 500_000)
        try await withServer { _, exchange in
            exchange.respond(200, body: .bytes(body))
        } _: { server in
            for _ in 0..<10 {
                let client = try Client(port: server.port, receiveBuffer: 4096)
                try client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                _ = try await Task.sleep(for: .milliseconds(5))
                client.shutdownWrite()
                #expect(try client.readAnswer()?.body.count == 500_000)
            }
        }
    }

    @Test(arguments: ["Content-Length: 10", "Transfer-Encoding: chunked"])
    func clientsThatLeaveMidBody(_ framing: String) async throws {
        let notes = Recorder<Note>()
        let results = Recorder<Result<ByteBuffer, BodyError>>()
        try await withServer { request, exchange in
            if request.hasHeader("x-collect") {
                exchange.readBody(limit: 1_000) { result in
                    withExtendedLifetime(exchange) { results.add(result) }
                }
            } else {
                Self.stream(notes)(request, exchange)
            }
        } _: { server in
            let part = framing.contains("chunked") ? "3\r\nabc" : "abc"
            for (round, leave) in ["close", "reset", "half"].enumerated() {
                let client = try Client(port: server.port)
                try client.send(post(framing, part))
                _ = try await notes.wait(for: 2 * round + 1)
                switch leave {
                case "close": client.close()
                case "reset": client.reset()
                default:
                    client.shutdownWrite()
                    #expect(try client.isClosedByServer())
                }
                let all = try await notes.wait(for: 2 * round + 2)
                #expect(all.suffix(2) == [.piece(3), .failed(.disconnected)])
            }
            let client = try Client(port: server.port)
            try client.send(post(framing + "\r\nX-Collect: 1", part))
            client.shutdownWrite()
            #expect(try client.isClosedByServer())
            #expect(try await results.wait(for: 1) == [.failure(.disconnected)])
        }
    }

    @Test func brokenChunksAreAnswered() async throws {
        let notes = Recorder<Note>()
        try await withServer(handler: Self.stream(notes)) { server in
            let client = try Client(port: server.port)
            let answer = try client.ask(
                post("Transfer-Encoding: chunked", "3\r\nabcX\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n"))
            #expect(answer.status == 400 && answer.text.contains("chunked coding"))
            // What follows is never taken for a request.
            #expect(try client.isClosedByServer())
        }
    }

    @Test func bodiesAreReadOnce() async throws {
        let results = Recorder<Result<ByteBuffer, BodyError>>()
        try await withServer { _, exchange in
            exchange.readBody(limit: 100) { results.add($0) }
            exchange.readBody(limit: 100) { result in
                results.add(result)
                exchange.respond(200, body: .empty)
            }
            exchange.readBody(limit: 100) { results.add($0) }
        } _: { server in
            let client = try Client(port: server.port)
            #expect(try client.ask(post("Content-Length: 1", "x")).status == 200)
            #expect(
                results.all.suffix(2) == [
                    .failure(.malformed("asked for twice")), .failure(.disconnected),
                ])
        }
    }

    @Test func earlyAnswersEndTheBody() async throws {
        let notes = Recorder<Note>()
        try await withServer { _, exchange in
            exchange.readBody(
                limit: 1 << 20,
                into: NotingSink(notes) {
                    exchange.respond(409, body: .empty)
                } onEnd: { _ in
                })
        } _: { server in
            let client = try Client(port: server.port)
            for round in 1...3 {
                try client.send(post("Content-Length: 8", "abcd"))
                #expect(try client.readAnswer()?.status == 409)
                // The rest is discarded, not given to the sink nor taken for a request.
                try client.send("efgh")
                #expect(notes.all == [Note](repeating: .piece(4), count: round))
            }
        }
    }
}
