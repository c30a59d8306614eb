import Glibc
import HTTPServer
import NIOCore
import Testing

/// Clients that are broken, slow or hostile, over real sockets.
@Suite struct HostileClientTests {
    private let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

    @Sendable private static func ok(_ request: HTTPRequest, _ exchange: Exchange) {
        exchange.respond(200, body: .bytes(ByteBuffer(string: request.path)))
    }

    private var hurried: Limits {
        var limits = Limits()
        limits.headTimeout = .milliseconds(200)
        limits.idleTimeout = .milliseconds(200)
        limits.stallTimeout = .milliseconds(200)
        return limits
    }

    @Test(arguments: [
        ("GARBAGE\r\n\r\n", 400), ("GET / HTTP/1.1\nHost: h\n\n", 400),
        ("GET /\u{0} HTTP/1.1\r\n", 400), ("GET / HTTP/1.1\r\n folded: x\r\n\r\n", 400),
        ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}", 400), ("GET / HTTP/3.0\r\n\r\n", 505),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551616\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nExpect: magic\r\n\r\n", 417),
    ])
    func brokenRequestsAreAnsweredAndClosed(_ text: String, _ status: Int) async throws {
        try await withServer(handler: Self.ok) { server in
            let client = try Client(port: server.port)
            // The same again behind it must not be taken for a request.
            let answer = try client.ask(text + get)
            #expect(answer.status == status)
            #expect(answer.text.hasPrefix(#"{"error":""#))
            #expect(answer.headers["content-type"] == "application/json")
            #expect(answer.headers["connection"] == "close")
            #expect(try client.isClosedByServer())
        }
    }

    @Test func endlessHeadsAreCutOff() async throws {
        try await withServer(handler: Self.ok) { server in
            for line in [
                "X-Header: \(String(repeating: "v", count: 4_000))\r\n", "vvvvvvvvvvvvvvvv",
            ] {
                let client = try Client(port: server.port)
                try client.send("GET / HTTP/1.1\r\nX: ")
                let piece = Array(String(repeating: line, count: 65_536 / line.utf8.count).utf8)
                var sent = 0
                while sent < 100 << 20, client.trySend(piece) == piece.count { sent += piece.count }
                #expect(sent < 20 << 20, "took \(sent) bytes of one head")
            }
            let client = try Client(port: server.port)
            let answer = try client.ask(
                "GET / HTTP/1.1\r\nX: \(String(repeating: "v", count: 70_000))\r\n\r\n")
            #expect(answer.status == 431)
            #expect(try client.isClosedByServer())
        }
    }

    @Test func slowHeads() async throws {
        try await withServer(limits: hurried, handler: Self.ok) { server in
            let client = try Client(port: server.port)
            try client.send("GET / HT")
            #expect(try client.readAnswer()?.status == 408)
            #expect(try client.isClosedByServer())
        }
    }

    @Test func idleConnections() async throws {
        try await withServer(limits: hurried, handler: Self.ok) { server in
            let fresh = try Client(port: server.port)
            let used = try Client(port: server.port)
            #expect(try used.ask(get).status == 200)
            #expect(try fresh.isClosedByServer())
            #expect(try used.isClosedByServer())
        }
    }

    @Test func clientsThatNeverRead() async throws {
        let (descriptor, _) = try temporaryFile(bytes: 20_000_000)
        let node = inode(descriptor)
        defer { _ = close(descriptor) }
        let used = Recorder<CInt>()
        let finished = Recorder<Bool>()
        try await withServer(limits: hurried) { request, exchange in
            switch request.path {
            case "/file":
                let copy = dup(descriptor)
                used.add(copy)
                exchange.respond(
                    200, body: .file(descriptor: copy, offset: 0, length: 20_000_000))
            case "/stream":
                let source = PieceSource(pieces: 1_000, bytes: 1 << 20) { finished.add(true) }
                exchange.respond(200, body: .stream(length: nil, source: source))
            default:
                exchange.respond(200, body: .bytes(ByteBuffer(repeating: 0x61, count: 500_000)))
            }
        } _: { server in
            let clients = try ["/file", "/stream", "/small"].map { path in
                let client = try Client(port: server.port, receiveBuffer: 4096)
                // Enough requests that the answers outgrow every buffer in between.
                let count = path == "/small" ? 50 : 1
                try client.send(
                    String(repeating: "GET \(path) HTTP/1.1\r\nHost: h\r\n\r\n", count: count))
                return client
            }
            #expect(
                try await eventually {
                    used.all.count == 1 && used.all.allSatisfy { !isOpen($0, inode: node) }
                })
            _ = try await finished.wait(for: 1)
            for client in clients {
                let received = try client.readToEnd().count
                #expect(received < 20_000_000)
            }
        }
    }

    @Test func connectionsOverTheLimitAreClosed() async throws {
        var limits = Limits()
        limits.connections = 3
        try await withServer(limits: limits, handler: Self.ok) { server in
            let clients = try (0..<3).map { _ in try Client(port: server.port) }
            for client in clients { #expect(try client.ask(get).status == 200) }
            let tooMany = try Client(port: server.port)
            #expect(try tooMany.isClosedByServer())
            clients[0].close()
            // Room again, once the server has noticed.
            #expect(
                try await eventually {
                    guard let client = try? Client(port: server.port) else { return false }
                    return (try? client.ask(get).status) == 200
                })
            #expect(try clients[1].ask(get).status == 200)
        }
    }

    @Test func manyClientsThatComeAndGo() async throws {
        var limits = Limits()
        limits.connections = 50
        let parts = [
            "", "G", "GET / HTTP/1.1\r\n", get,
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab",
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        ]
        try await withServer(limits: limits) { request, exchange in
            exchange.readBody(limit: 100) { _ in exchange.respond(200, body: .empty) }
        } _: { server in
            for round in 0..<300 {
                let client = try Client(port: server.port)
                _ = client.trySend(Array(parts[round % parts.count].utf8))
                switch round % 3 {
                case 0: client.close()
                case 1: client.reset()
                default: client.shutdownWrite()
                }
            }
            // Every one of them must have been let go of, or the limit would refuse these.
            #expect(
                try await eventually {
                    let clients = (0..<40).compactMap { _ in try? Client(port: server.port) }
                    return clients.count == 40
                        && clients.allSatisfy { (try? $0.ask(get).status) == 200 }
                })
        }
    }

    @Test func shutdownLetsAnswersFinish() async throws {
        let waiting = Recorder<Exchange>()
        let server = try await HTTPServer.start(
            host: "127.0.0.1", port: 0, group: NIOGroup.shared, logger: silent,
            handler: Closure { request, exchange in
                if request.path == "/wait" {
                    waiting.add(exchange)
                } else {
                    exchange.respond(200, body: .empty)
                }
            })
        let port = server.port
        let idle = try Client(port: port)
        #expect(try idle.ask(get).status == 200)
        let busy = try Client(port: port)
        try busy.send("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n")
        let exchange = try #require(try await waiting.wait(for: 1).first)
        let stopping = Task { await server.shutdown(grace: .seconds(10)) }
        #expect(try await eventually { idle.hasEnded })
        #expect(throws: ClientError.self) { try Client(port: port).ask(get) }
        exchange.eventLoop.execute { exchange.respond(200, body: .empty) }
        let answer = try busy.readAnswer()
        #expect(answer?.status == 200 && answer?.headers["connection"] == "close")
        await stopping.value
    }

    @Test func shutdownCutsOffWhatTakesTooLong() async throws {
        let waiting = Recorder<Exchange>()
        let server = try await HTTPServer.start(
            host: "127.0.0.1", port: 0, group: NIOGroup.shared, logger: silent,
            handler: Closure { _, exchange in waiting.add(exchange) })
        let client = try Client(port: server.port)
        try client.send(get)
        _ = try await waiting.wait(for: 1)
        await server.shutdown(grace: .milliseconds(50))
        #expect(try client.isClosedByServer())
        await server.shutdown(grace: .zero)
    }
}
