import HTTPServer
import NIOCore

/// One connection with at most one request under way.
///
/// Lives on its event loop.
final class ClientConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    let address: String
    /// When its last request was done.
    var idleSince = NIODeadline.now()
    private let pool: ClientPool
    private var context: ChannelHandlerContext?
    private var received = ByteBuffer()
    private var call: ClientCall?
    private var head: AnswerHead?
    private var remaining: UInt64 = 0
    private var decoder = ChunkedDecoder()
    private var requests = 0
    private var hasHeard = false
    private var isReading = true

    init(pool: ClientPool, address: String) {
        self.pool = pool
        self.address = address
    }

    var isWritable: Bool { context?.channel.isWritable ?? false }

    /// Sends a call's request.
    func start(_ call: ClientCall) {
        guard let context, context.channel.isActive else {
            // Gone since it was put aside; its end is reported by the channel.
            return repeatOrFail(call)
        }
        self.call = call
        requests += 1
        hasHeard = false
        head = nil
        context.channel.eventLoop.assertInEventLoop()
        call.attach(self)
    }

    func send(_ bytes: ByteBuffer, flush: Bool) {
        guard let context else { return }
        if bytes.readableBytes > 0 { context.write(wrapOutboundOut(bytes), promise: nil) }
        if flush { context.flush() }
    }

    func setReading(_ isOn: Bool) {
        guard isOn != isReading, let context else { return }
        isReading = isOn
        try? context.channel.syncOptions?.setOption(.autoRead, value: isOn)
        // What was received already goes on without waiting for the socket.
        guard isOn else { return }
        context.eventLoop.assumeIsolated().execute { self.advance() }
    }

    func close() { context?.close(promise: nil) }

    /// Looks at the time limit.
    func sweep(_ now: NIODeadline) {
        guard let call, call.isLate(now) else { return }
        self.call = nil
        close()
        call.timeOut()
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var piece = unwrapInboundIn(data)
        hasHeard = true
        if received.readableBytes == 0 {
            received = piece
        } else {
            received.writeBuffer(&piece)
        }
        call?.touch()
        advance()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { call?.becameWritable() }
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.context = nil
        pool.closed(self)
        // What came before the end counts, also when nobody was ready for it.
        isReading = true
        if received.readableBytes > 0 { advance() }
        guard let call else { return }
        self.call = nil
        if let head, head.framing == .untilClose { return call.complete() }
        if requests > 1, !hasHeard { return repeatOrFail(call) }
        call.fail(.closed(address))
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    /// A connection that was idle may have been closed by the server in the very moment of sending:
    /// then the request was not read, and is sent once more over a new one.
    private func repeatOrFail(_ call: ClientCall) {
        guard call.request.isRepeatable, !call.isSecondTry, !call.isOver else {
            return call.fail(.closed(address))
        }
        call.prepareSecondTry()
        pool.run(call)
    }

    /// Hands on what was received.
    private func advance() {
        guard let call else {
            // Nobody asked for anything.
            if received.readableBytes > 0 { close() }
            return
        }
        do throws(MalformedAnswer) {
            try advance(call)
        } catch {
            self.call = nil
            close()
            call.fail(.malformed(address, reason: error.reason))
        }
    }

    private func advance(_ call: ClientCall) throws(MalformedAnswer) {
        if head == nil {
            head = try AnswerHead.take(from: &received, hasBody: !call.request.isHead)
            guard let head else {
                guard received.readableBytes <= pool.limits.head else {
                    throw MalformedAnswer("a head of more than \(pool.limits.head) bytes")
                }
                return
            }
            if case .length(let length) = head.framing { remaining = length }
            if head.framing == .chunked { decoder = ChunkedDecoder() }
            call.begin(head)
        }
        guard let head, self.call === call else { return }
        switch head.framing {
        case .none: finish(call, head)
        case .length:
            let count = Int(min(remaining, UInt64(received.readableBytes)))
            if count > 0, isReading, let piece = received.readSlice(length: count) {
                remaining -= UInt64(count)
                call.answer(piece)
            }
            if remaining == 0, self.call === call { finish(call, head) }
        case .untilClose:
            guard isReading, received.readableBytes > 0 else { return }
            let piece = received
            received = ByteBuffer()
            call.answer(piece)
        case .chunked: try advanceChunks(call, head)
        }
    }

    private func advanceChunks(_ call: ClientCall, _ head: AnswerHead) throws(MalformedAnswer) {
        while isReading, self.call === call {
            switch decoder.next(&received) {
            case .incomplete: return
            case .piece(let piece): call.answer(piece)
            case .end: return finish(call, head)
            case .failure(let reason): throw MalformedAnswer(reason)
            }
        }
    }

    private func finish(_ call: ClientCall, _ head: AnswerHead) {
        self.call = nil
        self.head = nil
        setReading(true)
        let isReusable = head.keepsOpen && call.isSent && received.readableBytes == 0
        if received.readableBytes == 0 { received = ByteBuffer() }
        if isReusable, context != nil { pool.release(self) } else { close() }
        call.complete()
    }
}
