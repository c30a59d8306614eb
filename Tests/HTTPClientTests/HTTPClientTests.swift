import HTTPClient
import HTTPServer
import Logging
import NIOCore
import NIOPosix
import Synchronization
import Testing

@Suite("Requests to other servers")
struct HTTPClientTests {
    private static let group = MultiThreadedEventLoopGroup.singleton

    /// Runs `body` with a client and a server that answers as told.
    private static func run(
        _ limits: HTTPClient.Limits = HTTPClient.Limits(),
        _ answer: @escaping @Sendable (HTTPRequest, Exchange) -> Void,
        _ body: (HTTPClient, String) async throws -> Void
    ) async throws {
        let server = try await HTTPServer.start(
            host: "127.0.0.1", port: 0, group: group, logger: Logger(label: "test"),
            handler: Answering(answer: answer))
        let client = HTTPClient(group: group, limits: limits)
        do {
            try await body(client, "127.0.0.1:\(server.port)")
        } catch {
            client.shutdown()
            await server.shutdown(grace: .zero)
            throw error
        }
        client.shutdown()
        await server.shutdown(grace: .zero)
    }

    private struct Answering: RequestHandler {
        let answer: @Sendable (HTTPRequest, Exchange) -> Void

        func handle(_ request: HTTPRequest, _ exchange: Exchange) { answer(request, exchange) }
    }

    /// A request without a body.
    private static func get(_ path: String, _ address: String) -> ClientRequest {
        ClientRequest(
            address: address,
            head: ClientRequest.head("GET", path, to: address, headers: [("X-A", "b\r\nc")]))
    }

    @Test("bodies of known and unknown length arrive whole, headers with them")
    func answers() async throws {
        try await Self.run { request, exchange in
            switch request.path {
            case "/empty": exchange.respond(204, body: .none)
            case "/chunks":
                exchange.respond(200, body: .stream(length: nil, source: Pieces(count: 30)))
            default:
                let text = request.header("x-a") ?? ""
                exchange.respond(201, body: .bytes(ByteBuffer(string: text))) {
                    $0.add("ETag", "\"x\"")
                }
            }
        } _: { client, address in
            let plain = try await client.send { Self.get("/", address) }
            #expect(plain.status == 201)
            #expect(String(buffer: plain.body) == "bc")
            #expect(plain.head.header("etag") == "\"x\"")
            #expect(plain.head.header("none") == nil)
            #expect(plain.head.headers.contains { $0.name == "Content-Length" && $0.value == "2" })
            #expect(try await client.send { Self.get("/empty", address) }.status == 204)
            let chunks = try await client.send { Self.get("/chunks", address) }
            #expect(chunks.body.readableBytes == 30_000)
            #expect(chunks.head.contentLength == nil)
        }
    }

    @Test("requests beyond the connections allowed wait for one")
    func connections() async throws {
        let open = Mutex<(now: Int, most: Int)>((0, 0))
        var limits = HTTPClient.Limits()
        limits.connections = 2
        try await Self.run(limits) { _, exchange in
            let bound = NIOLoopBound(exchange, eventLoop: exchange.eventLoop)
            open.withLock {
                $0.now += 1
                $0.most = max($0.most, $0.now)
            }
            exchange.eventLoop.scheduleTask(in: .milliseconds(5)) {
                open.withLock { $0.now -= 1 }
                bound.value.respond(200, body: .empty)
            }
        } _: { client, address in
            let loop = Self.group.next()
            let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<40 {
                    group.addTask { try await client.sendOn(loop) { Self.get("/", address) } }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(statuses == [Int](repeating: 200, count: 40))
            #expect(open.withLock { $0.most } == 2)
        }
    }

    @Test("more than may wait fails at once, and so does an address that is none")
    func overload() async throws {
        var limits = HTTPClient.Limits()
        limits.connections = 1
        limits.waiting = 1
        try await Self.run(limits) { _, exchange in
            let bound = NIOLoopBound(exchange, eventLoop: exchange.eventLoop)
            exchange.eventLoop.scheduleTask(in: .milliseconds(100)) {
                bound.value.respond(200, body: .empty)
            }
        } _: { client, address in
            let loop = Self.group.next()
            let failures = await withTaskGroup(of: ClientError?.self) { group in
                for _ in 0..<3 {
                    group.addTask {
                        do throws(ClientError) {
                            _ = try await client.sendOn(loop) { Self.get("/", address) }
                            return nil
                        } catch {
                            return error
                        }
                    }
                }
                return await group.reduce(into: [ClientError]()) { errors, error in
                    if let error { errors.append(error) }
                }
            }
            #expect(failures == [.overloaded(address, limit: 1)])
            for bad in ["nowhere", "127.0.0.1:0", ":80"] {
                await #expect(throws: ClientError.address(bad)) {
                    _ = try await client.send { Self.get("/", bad) }
                }
            }
        }
    }

    @Test("what is too large, too slow or not HTTP is an error that says so")
    func faults() async throws {
        var limits = HTTPClient.Limits()
        limits.collected = 1000
        try await Self.run(limits) { request, exchange in
            if request.path == "/large" {
                exchange.respond(200, body: .bytes(ByteBuffer(repeating: 1, count: 5000)))
            } else {
                let bound = NIOLoopBound(exchange, eventLoop: exchange.eventLoop)
                exchange.eventLoop.scheduleTask(in: .seconds(5)) {
                    bound.value.respond(200, body: .empty)
                }
            }
        } _: { client, address in
            await #expect(throws: ClientError.tooLarge(address, limit: 1000)) {
                _ = try await client.send { Self.get("/large", address) }
            }
            await #expect(throws: ClientError.timedOut(address, seconds: 1)) {
                _ = try await client.send {
                    var request = Self.get("/slow", address)
                    request.patience = .seconds(1)
                    return request
                }
            }
        }
        for (bytes, isMalformed) in [
            ("nonsense that is long enough\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", false),
            ("HTTP/1.1 2", false), ("", false),
        ] {
            try await Self.withRawServer([bytes]) { address in
                let client = HTTPClient(group: Self.group)
                do throws(ClientError) {
                    _ = try await client.send { Self.get("/", address) }
                    Issue.record("\(bytes) gave an answer")
                } catch {
                    switch error {
                    case .malformed: #expect(isMalformed, "\(bytes)")
                    case .closed: #expect(!isMalformed, "\(bytes)")
                    default: Issue.record("\(bytes): \(error)")
                    }
                }
                client.shutdown()
            }
        }
    }

    @Test("interim answers are skipped, and an answer may end with its connection")
    func oldServers() async throws {
        let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\nX: y\r\n\r\nto the end"
        try await Self.withRawServer([answer]) { address in
            let client = HTTPClient(group: Self.group)
            let answer = try await client.send { Self.get("/", address) }
            #expect(answer.status == 200)
            #expect(String(buffer: answer.body) == "to the end")
            client.shutdown()
        }
    }

    @Test("a connection that the server just closed costs no request")
    func staleConnection() async throws {
        let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        // The second request over a connection is met by its end.
        try await Self.withRawServer([ok, ""]) { address in
            let client = HTTPClient(group: Self.group)
            let loop = Self.group.next()
            for _ in 0..<6 {
                let status = try await client.sendOn(loop) { Self.get("/", address) }
                #expect(status == 200)
            }
            client.shutdown()
        }
    }

    /// A server that answers the n-th piece it gets over a connection with the n-th text, and closes
    /// after the last.
    private static func withRawServer(
        _ answers: [String], _ body: (String) async throws -> Void
    ) async throws {
        let channel = try await ServerBootstrap(group: group).childChannelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(RawAnswers(answers))
            }
        }.bind(host: "127.0.0.1", port: 0).get()
        do {
            try await body("127.0.0.1:\(channel.localAddress?.port ?? 0)")
        } catch {
            try await channel.close()
            throw error
        }
        try await channel.close()
    }
}

private final class RawAnswers: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer
    private var answers: [String]

    init(_ answers: [String]) { self.answers = answers }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !answers.isEmpty else { return }
        let text = answers.removeFirst()
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: text)), promise: nil)
        if answers.isEmpty { context.close(promise: nil) }
    }
}

/// Some pieces of a thousand bytes.
private final class Pieces: BodySource {
    private var left: Int

    init(count: Int) { left = count }

    func next(on loop: any EventLoop) -> EventLoopFuture<ByteBuffer?> {
        guard left > 0 else { return loop.makeSucceededFuture(nil) }
        left -= 1
        return loop.makeSucceededFuture(ByteBuffer(repeating: 7, count: 1000))
    }

    func finished() {}
}

extension HTTPClient {
    /// Sends a request from one event loop; the status.
    fileprivate func sendOn(
        _ loop: any EventLoop, _ make: @escaping @Sendable () -> ClientRequest
    ) async throws(ClientError) -> Int {
        let result = await withCheckedContinuation { continuation in
            loop.execute {
                self.send(make(), on: loop) { continuation.resume(returning: $0) }
            }
        }
        return try result.get().status
    }
}
