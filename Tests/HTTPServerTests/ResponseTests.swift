import Glibc
import HTTPServer
import NIOCore
import Synchronization
import Testing

/// Makes so many pieces of so many bytes, counts up what was asked for.
final class PieceSource: BodySource {
    private var left: Int
    private let bytes: Int
    private let onFinish: () -> Void
    private(set) var asked = 0
    var failsAt: Int?
    var onAsked: (Int) -> Void = { _ in }

    init(pieces: Int, bytes: Int, onFinish: @escaping () -> Void = {}) {
        left = pieces
        self.bytes = bytes
        self.onFinish = onFinish
    }

    func next(on loop: any EventLoop) -> EventLoopFuture<ByteBuffer?> {
        asked += 1
        onAsked(asked)
        if asked == failsAt { return loop.makeFailedFuture(ClientError(description: "broken")) }
        guard left > 0 else { return loop.makeSucceededFuture(nil) }
        left -= 1
        let piece = ByteBuffer(repeating: UInt8(0x61 + asked % 26), count: bytes)
        // Every other piece comes late.
        if asked % 2 == 0 { return loop.makeSucceededFuture(piece) }
        return loop.scheduleTask(in: .microseconds(10)) { .some(piece) }.futureResult
    }

    func finished() { onFinish() }
}

/// Bytes that tell where they belong.
func patterned(_ count: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count + 251)
    let run = (0..<251).map { UInt8($0) }
    while bytes.count < count {
        // The number of the run in its first bytes: a shifted or swapped segment shows.
        let number = bytes.count / 255
        bytes += [0, 8, 16, 24].map { UInt8(truncatingIfNeeded: number >> $0) }
        bytes += run
    }
    bytes.removeLast(bytes.count - count)
    return bytes
}

/// A nameless temporary file with bytes that tell their position.
func temporaryFile(bytes count: Int) throws -> (descriptor: CInt, bytes: [UInt8]) {
    let bytes = patterned(count)
    var path = Array("/tmp/http-server-tests-XXXXXX".utf8CString)
    let descriptor = unsafe path.withUnsafeMutableBufferPointer { buffer in
        unsafe buffer.baseAddress.map { unsafe mkstemp($0) } ?? -1
    }
    guard descriptor >= 0 else { throw ClientError(description: "mkstemp: errno \(errno)") }
    _ = unsafe path.withUnsafeBufferPointer { buffer in
        unsafe buffer.baseAddress.map { unsafe unlink($0) }
    }
    var written = 0
    while written < count {
        let more = unsafe bytes.withUnsafeBytes { buffer in
            unsafe write(descriptor, buffer.baseAddress?.advanced(by: written), count - written)
        }
        guard more > 0 else { throw ClientError(description: "write: errno \(errno)") }
        written += more
    }
    return (descriptor, bytes)
}

/// Whether a descriptor still refers to the file it was opened for.
func isOpen(_ descriptor: CInt, inode: UInt64) -> Bool {
    var status = stat()
    return unsafe fstat(descriptor, &status) == 0 && UInt64(status.st_ino) == inode
}

func inode(_ descriptor: CInt) -> UInt64 {
    var status = stat()
    _ = unsafe fstat(descriptor, &status)
    return UInt64(status.st_ino)
}

@Suite struct ResponseTests {
    private let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

    @Test(arguments: [0, 1, 1024, 32 << 10, (32 << 10) + 1, 512 << 10, (512 << 10) + 1, 5_000_000])
    func bytesOfAnySize(_ count: Int) async throws {
        let expected = patterned(count)
        let body = ByteBuffer(bytes: expected)
        try await withServer { _, exchange in
            exchange.respond(200, body: .bytes(body))
        } _: { server in
            let client = try Client(port: server.port)
            for _ in 0..<3 { #expect(try client.ask(get).body == expected) }
            let last = try client.ask("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            #expect(last.body == expected)
            #expect(try client.isClosedByServer())
        }
    }

    @Test(arguments: [(0, 0), (0, 10), (3, 1_048_576), (100, 4_000_000), (4_999_999, 1)])
    func filesInPart(_ offset: Int, _ length: Int) async throws {
        let (descriptor, bytes) = try temporaryFile(bytes: 5_000_000)
        let node = inode(descriptor)
        defer { _ = close(descriptor) }
        let used = Recorder<CInt>()
        try await withServer { _, exchange in
            let copy = dup(descriptor)
            used.add(copy)
            exchange.respond(
                200,
                body: .file(descriptor: copy, offset: UInt64(offset), length: UInt64(length)))
        } _: { server in
            let client = try Client(port: server.port)
            for _ in 0..<2 {
                #expect(try client.ask(get).body == Array(bytes[offset..<offset + length]))
            }
            let head = try client.ask("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", toHead: true)
            #expect(head.headers["content-length"] == "\(length)")
            let last = try client.ask("GET / HTTP/1.0\r\n\r\n")
            #expect(last.body == Array(bytes[offset..<offset + length]))
            #expect(
                try await eventually { used.all.allSatisfy { !isOpen($0, inode: node) } },
                "a descriptor was not closed")
        }
    }

    @Test func filesShorterThanAnnouncedAreAnError() async throws {
        let (descriptor, _) = try temporaryFile(bytes: 10)
        let node = inode(descriptor)
        defer { _ = close(descriptor) }
        let used = Recorder<CInt>()
        try await withServer { request, exchange in
            let copy = dup(descriptor)
            used.add(copy)
            let offset: UInt64 = request.path == "/overflow" ? .max : 5
            exchange.respond(200, body: .file(descriptor: copy, offset: offset, length: 6))
        } _: { server in
            let client = try Client(port: server.port)
            #expect(try client.ask(get).status == 500)
            #expect(try client.ask("GET /overflow HTTP/1.1\r\nHost: h\r\n\r\n").status == 500)
            #expect(used.all.count == 2 && used.all.allSatisfy { !isOpen($0, inode: node) })
        }
    }

    @Test func filesAreClosedWhenTheClientLeaves() async throws {
        let (descriptor, _) = try temporaryFile(bytes: 12_000_000)
        let node = inode(descriptor)
        defer { _ = close(descriptor) }
        let used = Recorder<CInt>()
        try await withServer { _, exchange in
            let copy = dup(descriptor)
            used.add(copy)
            exchange.respond(200, body: .file(descriptor: copy, offset: 0, length: 12_000_000))
        } _: { server in
            for _ in 0..<4 {
                let client = try Client(port: server.port, receiveBuffer: 4096)
                try client.send(get)
                _ = try client.receive()
                client.reset()
            }
            #expect(
                try await eventually {
                    used.all.count == 4 && used.all.allSatisfy { !isOpen($0, inode: node) }
                })
        }
    }

    @Test func answersAfterTheClientLeftGiveTheirBodyBack() async throws {
        let (descriptor, _) = try temporaryFile(bytes: 100)
        let node = inode(descriptor)
        let answered = Recorder<Bool>()
        let waiting = Mutex<Exchange?>(nil)
        try await withServer { _, exchange in
            waiting.withLock { $0 = exchange }
        } _: { server in
            let client = try Client(port: server.port)
            try client.send(get)
            #expect(try await eventually { waiting.withLock { $0 != nil } })
            client.reset()
            let exchange = try #require(waiting.withLock { $0 })
            #expect(
                try await eventually {
                    (try? exchange.eventLoop.submit { exchange.isConnected }.wait()) == false
                })
            exchange.mailbox.enqueue(exchange) { exchange in
                exchange.respond(200, body: .file(descriptor: descriptor, offset: 0, length: 100))
                answered.add(true)
            }
            _ = try await answered.wait(for: 1)
            #expect(!isOpen(descriptor, inode: node))
        }
    }

    @Test(arguments: [nil, 1_000_000] as [UInt64?])
    func streams(_ length: UInt64?) async throws {
        let finished = Recorder<Bool>()
        try await withServer { _, exchange in
            let source = PieceSource(pieces: 100, bytes: 10_000) { finished.add(true) }
            exchange.respond(200, body: .stream(length: length, source: source))
        } _: { server in
            let expected = (1...100).flatMap {
                [UInt8](repeating: UInt8(0x61 + $0 % 26), count: 10_000)
            }
            let client = try Client(port: server.port)
            for round in 1...3 {
                let answer = try client.ask(get)
                #expect(answer.body == expected)
                #expect((answer.headers["transfer-encoding"] == "chunked") == (length == nil))
                #expect(finished.all.count == round)
            }
            let old = try client.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            #expect(old.body == expected)
            #expect(old.headers["transfer-encoding"] == nil)
            #expect(old.headers["connection"] == (length == nil ? "close" : "keep-alive"))
        }
    }

    @Test(arguments: ["fails", "short", "long"])
    func brokenStreamsBreakTheConnection(_ how: String) async throws {
        let finished = Recorder<Bool>()
        try await withServer { _, exchange in
            let source = PieceSource(pieces: 10, bytes: 100) { finished.add(true) }
            if how == "fails" { source.failsAt = 5 }
            let length: UInt64? = how == "fails" ? nil : how == "short" ? 1_001 : 999
            exchange.respond(200, body: .stream(length: length, source: source))
        } _: { server in
            let client = try Client(port: server.port)
            #expect(throws: ClientError.self) { try client.ask(get) }
            _ = try await finished.wait(for: 1)
            #expect(finished.all.count == 1)
        }
    }

    @Test func emptyStreams() async throws {
        try await withServer { request, exchange in
            let source = PieceSource(pieces: 0, bytes: 0)
            exchange.respond(
                200, body: .stream(length: request.path == "/0" ? 0 : nil, source: source))
        } _: { server in
            let client = try Client(port: server.port)
            #expect(try client.ask("GET /0 HTTP/1.1\r\nHost: h\r\n\r\n").body.isEmpty)
            #expect(try client.ask(get).body.isEmpty)
            #expect(try client.ask("GET / HTTP/1.0\r\n\r\n").body.isEmpty)
        }
    }

    @Test func streamsWaitForTheirReader() async throws {
        let asked = Atomic(0)
        let finished = Recorder<Bool>()
        try await withServer { _, exchange in
            let source = PieceSource(pieces: 1_000, bytes: 1 << 20) { finished.add(true) }
            source.onAsked = { asked.store($0, ordering: .relaxed) }
            exchange.respond(200, body: .stream(length: nil, source: source))
        } _: { server in
            let client = try Client(port: server.port, receiveBuffer: 64 << 10)
            try client.send(get)
            _ = try client.receive()
            // The socket buffers take a few pieces; then nothing more may be asked for.
            var before = -1
            while before != asked.load(ordering: .relaxed) {
                before = asked.load(ordering: .relaxed)
                try await Task.sleep(for: .milliseconds(150))
            }
            #expect(before < 30, "asked for \(before) pieces of a body that nobody reads")
            client.reset()
            _ = try await finished.wait(for: 1)
        }
    }

    @Test func oneLargeAnswerDoesNotHoldOthersUp() async throws {
        let (descriptor, _) = try temporaryFile(bytes: 12_000_000)
        defer { _ = close(descriptor) }
        try await withServer { request, exchange in
            if request.path == "/small" {
                exchange.respond(200, body: .empty)
            } else {
                exchange.respond(
                    200,
                    body: .file(descriptor: dup(descriptor), offset: 0, length: 12_000_000))
            }
        } _: { server in
            let slow = try (0..<4).map { _ in try Client(port: server.port) }
            for client in slow { try client.send(get) }
            let quick = try Client(port: server.port)
            for _ in 0..<100 {
                #expect(try quick.ask("GET /small HTTP/1.1\r\nHost: h\r\n\r\n").status == 200)
            }
            for client in slow { #expect(try client.readAnswer()?.body.count == 12_000_000) }
        }
    }
}
