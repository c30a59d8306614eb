public import HTTPServer
public import NIOCore

/// One request under way.
///
/// Confined to its event loop.
public final class ClientCall: BodySink {
    /// `host:port` of the server.
    public let address: String
    let request: ClientRequest
    let loop: any EventLoop
    private var receiver: (any AnswerReceiver)?
    private var connection: ClientConnection?
    private var deadline: NIODeadline
    /// Pieces that came before there was a connection.
    private var early: [ByteBuffer] = []
    private var hasEnded = false
    private var isPaused = false
    /// Sent once already, over a connection that turned out to be closed.
    private(set) var isSecondTry = false

    init(_ request: ClientRequest, receiver: any AnswerReceiver, loop: any EventLoop) {
        self.request = request
        address = request.address
        self.receiver = receiver
        self.loop = loop
        deadline = .now() + request.patience
    }

    /// Whether its receiver has heard the last.
    var isOver: Bool { receiver == nil }

    /// Whether an idle connection may be used: one that the server is just closing would lose a
    /// body that cannot be sent twice.
    var mayReuse: Bool { request.isRepeatable && !isSecondTry }

    /// Gives up: the connection is closed and the receiver hears no more.
    public func cancel() {
        receiver = nil
        stopSource()
        let connection = connection
        self.connection = nil
        connection?.close()
    }

    /// Gives up, but reads the answer to its end so that the connection can serve again.
    public func abandon() {
        receiver = nil
        stopSource()
    }

    /// Stops reading the answer until ``resume()``.
    public func pause() {
        guard !isPaused, let connection else { return }
        isPaused = true
        connection.setReading(false)
    }

    /// Goes on reading the answer.
    public func resume() {
        guard isPaused else { return }
        isPaused = false
        touch()
        connection?.setReading(true)
    }

    /// Whether the server takes more of the body now; ``AnswerReceiver/canTakeMore()`` is called
    /// when it does again.
    public var isWritable: Bool { connection?.isWritable ?? (early.count < ClientCall.earlyLimit) }

    /// Pieces of a pushed body kept until there is a connection.
    private static let earlyLimit = 2

    // MARK: Pushed body

    /// Sends a piece of the body.
    public func receive(_ piece: ByteBuffer) {
        guard !isOver else { return }
        touch()
        guard let connection else { return early.append(piece) }
        connection.send(framed(piece), flush: true)
    }

    /// The body is complete.
    public func end() {
        guard !isOver else { return }
        hasEnded = true
        touch()
        connection?.send(ending, flush: true)
    }

    /// The body will never be complete: the request is given up.
    public func failed(_ error: BodyError) {
        fail(.body(address, reason: error.description))
    }

    private var isChunked: Bool {
        if case .pushed(isChunked: true) = request.body { true } else { false }
    }

    private func framed(_ piece: ByteBuffer) -> ByteBuffer {
        guard isChunked else { return piece }
        var chunk = ByteBuffer(string: String(piece.readableBytes, radix: 16) + "\r\n")
        chunk.writeImmutableBuffer(piece)
        chunk.writeStaticString("\r\n")
        return chunk
    }

    private var ending: ByteBuffer {
        isChunked ? ByteBuffer(string: "0\r\n\r\n") : ByteBuffer()
    }

    // MARK: For the connection

    /// Whether the whole request was sent.
    var isSent: Bool {
        switch request.body {
        case .none, .bytes: true
        case .source, .pushed: hasEnded
        }
    }

    /// The request goes over a connection.
    func attach(_ connection: ClientConnection) {
        self.connection = connection
        touch()
        switch request.body {
        case .none: connection.send(request.head, flush: true)
        case .bytes(let bytes, let tail):
            connection.send(request.head, flush: false)
            connection.send(bytes, flush: tail.readableBytes == 0)
            if tail.readableBytes > 0 { connection.send(tail, flush: true) }
        case .source(let source):
            connection.send(request.head, flush: true)
            pull(source)
        case .pushed:
            connection.send(request.head, flush: early.isEmpty)
            let pieces = early
            early = []
            for piece in pieces { connection.send(framed(piece), flush: true) }
            if hasEnded { connection.send(ending, flush: true) }
            if connection.isWritable { receiver?.canTakeMore() }
        }
    }

    /// The socket takes more.
    func becameWritable() {
        touch()
        switch request.body {
        case .source(let source): pull(source)
        case .pushed: receiver?.canTakeMore()
        case .none, .bytes: break
        }
    }

    private var isPulling = false

    private func pull(_ source: any BodySource) {
        guard !isPulling, !hasEnded, !isOver, let connection, connection.isWritable else { return }
        isPulling = true
        source.next(on: loop).hop(to: loop).assumeIsolated().whenComplete { [self] result in
            isPulling = false
            guard !isOver else { return }
            switch result {
            case .success(let piece?):
                touch()
                self.connection?.send(piece, flush: true)
                pull(source)
            case .success(nil):
                hasEnded = true
                source.finished()
            case .failure(let error):
                fail(.body(address, reason: "\(error)"))
                self.connection?.close()
            }
        }
    }

    private func stopSource() {
        guard case .source(let source) = request.body, !hasEnded else { return }
        hasEnded = true
        source.finished()
    }

    /// Something moved.
    func touch() { deadline = .now() + request.patience }

    /// Whether nothing moved for too long.
    func isLate(_ now: NIODeadline) -> Bool { !isPaused && now > deadline }

    /// Nothing moved for too long.
    func timeOut() {
        fail(.timedOut(address, seconds: request.patience.nanoseconds / 1_000_000_000))
    }

    func begin(_ head: AnswerHead) { receiver?.begin(head) }

    func answer(_ piece: ByteBuffer) { receiver?.receive(piece) }

    /// The answer is complete.
    func complete() {
        let receiver = receiver
        self.receiver = nil
        connection = nil
        stopSource()
        receiver?.end()
    }

    /// There will be no answer.
    func fail(_ error: ClientError) {
        let receiver = receiver
        self.receiver = nil
        connection = nil
        early = []
        stopSource()
        receiver?.failed(error)
    }

    /// Goes back to the pool after its connection turned out to be closed.
    func prepareSecondTry() {
        isSecondTry = true
        connection = nil
    }
}
