import NIOCore
import NIOEmbedded
import Testing

@testable import HTTPServer

/// One connection on a loop whose time the test makes.
private struct Line {
    let loop = EmbeddedEventLoop()
    let shared: LoopContext
    let channel: EmbeddedChannel
    let connection: ConnectionHandler
    let released = Recorder<Bool>()

    init(
        limits: Limits = Limits(),
        handler: @escaping @Sendable (HTTPRequest, Exchange) -> Void = { _, exchange in
            exchange.respond(200, body: .empty)
        }
    ) throws {
        shared = LoopContext(
            loop: loop, limits: limits, handler: Closure(body: handler), logger: silent,
            wallClock: { 1_400_000_000 })
        let released = released
        connection = ConnectionHandler(shared: shared) { released.add(true) }
        channel = EmbeddedChannel(handler: connection, loop: loop)
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 9)).wait()
    }

    /// Lets so many seconds go by.
    func pass(_ seconds: Int) {
        for _ in 0..<seconds {
            shared.sweep(elapsed: .seconds(1))
            loop.run()
        }
    }

    func receive(_ text: String) throws {
        try channel.writeInbound(ByteBuffer(string: text))
        loop.run()
    }

    /// All that was sent since the last call.
    func sent() throws -> String {
        var text = ""
        while let buffer = try channel.readOutbound(as: ByteBuffer.self) {
            text += String(buffer: buffer)
        }
        return text
    }

    /// How many answers, of one buffer each, were sent since the last call.
    func answers() throws -> Int {
        var count = 0
        while try channel.readOutbound(as: ByteBuffer.self) != nil { count += 1 }
        return count
    }

    /// What the channel does when the client reads no more, or again.
    func setWritable(_ isWritable: Bool) {
        channel.isWritable = isWritable
        channel.pipeline.fireChannelWritabilityChanged()
    }

    var isOpen: Bool { channel.isActive }

    func end() { _ = try? channel.finish(acceptAlreadyClosed: true) }
}

@Suite struct TimeLimitTests {
    private let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

    @Test func idleConnectionsAreClosed() throws {
        let line = try Line()
        line.pass(29)
        #expect(line.isOpen)
        try line.receive(get)
        #expect(
            try line.sent().hasPrefix("HTTP/1.1 200 OK\r\nDate: Tue, 13 May 2014 16:53:20 GMT\r\n"))
        line.pass(29)
        #expect(line.isOpen)
        line.pass(1)
        #expect(!line.isOpen)
        #expect(try line.sent().isEmpty)
        #expect(line.released.all == [true])
    }

    @Test func slowHeadsAreAnsweredAndClosed() throws {
        let line = try Line()
        line.pass(5)
        try line.receive("GET / HTTP/1.1\r\n")
        for _ in 0..<9 {
            line.pass(1)
            try line.receive("X: y\r\n")
        }
        #expect(line.isOpen)
        #expect(try line.sent().isEmpty)
        line.pass(1)
        let answer = try line.sent()
        #expect(answer.hasPrefix("HTTP/1.1 408 Request Timeout\r\n"))
        #expect(answer.contains("Connection: close\r\n"))
        #expect(answer.contains("Content-Type: application/json\r\n"))
        #expect(answer.hasSuffix(#"{"error":"request head not received in time"}"#))
        #expect(!line.isOpen)
    }

    @Test func theHeadsTimeBeginsWithItsFirstByte() throws {
        let line = try Line()
        line.pass(20)
        try line.receive("GET / HTTP/1.1\r\nHost: h\r\n")
        line.pass(9)
        try line.receive("\r\n")
        #expect(try line.sent().contains("200 OK"))
        line.end()
    }

    @Test func stalledBodiesFail() throws {
        let notes = Recorder<NotingSink.Note>()
        let line = try Line { _, exchange in
            exchange.readBody(
                limit: 100,
                into: NotingSink(notes) { error in
                    if let error { exchange.respondError(error.status, "\(error)") }
                })
        }
        try line.receive("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n")
        line.pass(29)
        try line.receive("abc")
        line.pass(29)
        #expect(notes.all == [.piece(3)])
        line.pass(1)
        #expect(notes.all == [.piece(3), .failed(.timedOut)])
        #expect(try line.sent().contains("408 Request Timeout"))
        #expect(!line.isOpen)
    }

    @Test func aPausedBodyHasNoTimeLimit() throws {
        let notes = Recorder<NotingSink.Note>()
        let kept = Recorder<Exchange>()
        let line = try Line { _, exchange in
            kept.add(exchange)
            exchange.readBody(
                limit: 100,
                into: NotingSink(notes) {
                    exchange.pauseReading()
                } onEnd: { _ in
                    exchange.respond(201, body: .empty)
                })
        }
        try line.receive("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc")
        line.pass(100)
        try line.receive("def")
        #expect(notes.all == [.piece(3)])
        kept.all.first?.resumeReading()
        kept.all.first?.resumeReading()
        #expect(notes.all == [.piece(3), .piece(3), .end])
        #expect(try line.sent().contains("201 Created"))
        line.end()
    }

    @Test func handlersMayTakeTheirTime() throws {
        let kept = Recorder<Exchange>()
        let line = try Line { _, exchange in kept.add(exchange) }
        try line.receive(get)
        line.pass(1_000)
        #expect(line.isOpen)
        kept.all.first?.respond(200, body: .empty)
        #expect(try line.sent().contains("200 OK"))
        line.end()
    }

    @Test func clientsThatDoNotReadGetNoMoreAnswers() throws {
        let count = Recorder<String>()
        let line = try Line { request, exchange in
            count.add(request.path)
            exchange.respond(200, body: .empty)
        }
        line.setWritable(false)
        try line.receive(get + get + get)
        line.pass(29)
        #expect(count.all.isEmpty && line.isOpen)
        line.setWritable(true)
        #expect(count.all.count == 3)
        line.setWritable(false)
        try line.receive(get)
        line.pass(31)
        #expect(count.all.count == 3 && !line.isOpen)
    }

    @Test func aHeldUpLoopDoesNotBlameItsClients() throws {
        let line = try Line()
        try line.receive("GET / HTTP/1.1\r\n")
        line.shared.sweep(elapsed: .hours(1))
        #expect(line.isOpen)
        line.end()
    }

    @Test func drainingClosesIdleConnectionsAndFinishesOthers() throws {
        let kept = Recorder<Exchange>()
        let line = try Line { _, exchange in kept.add(exchange) }
        try line.receive(get)
        let whenEmpty = line.shared.drain()
        #expect(line.isOpen)
        kept.all.first?.respond(200, body: .empty)
        #expect(try line.sent().contains("Connection: close\r\n"))
        #expect(!line.isOpen)
        try whenEmpty.wait()

        let idle = try Line()
        try idle.shared.drain().wait()
        #expect(!idle.isOpen)
    }

    @Test func theMailboxIsEmptiedInOneTurn() throws {
        let kept = Recorder<Exchange>()
        let order = Recorder<Int>()
        let line = try Line { _, exchange in kept.add(exchange) }
        try line.receive(get)
        let exchange = try #require(kept.all.first)
        for number in 0..<100 {
            exchange.mailbox.enqueue(exchange) { exchange in
                order.add(number)
                if number == 50 { exchange.respond(200, body: .empty) }
                if number == 60 { exchange.mailbox.enqueue(exchange) { _ in order.add(100) } }
            }
        }
        #expect(order.all.isEmpty)
        line.loop.run()
        #expect(order.all == Array(0...100))
        #expect(try line.answers() == 1)
        line.end()
    }

    @Test func bytesUnderstoodAreNotKept() throws {
        let line = try Line()
        // Every read ends within a head, so there is never a moment without pending bytes.
        let part = String((get + get + get).dropLast(10))
        try line.receive(part)
        for _ in 0..<20_000 {
            try line.receive(String(get.suffix(10)) + part)
        }
        #expect(line.connection.pending.storageCapacity < 4_096)
        #expect(try line.answers() == 60_002)
        line.end()
    }
}
