import Logging
import NIOCore

/// One connection: reads requests, gives them to the handler one at a time, writes the answers.
final class ConnectionHandler: ChannelDuplexHandler, @unchecked Sendable {
    // `@unchecked`: constants apart, used on `loop` only.
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = Never
    typealias OutboundOut = IOData

    enum Phase {
        /// Between requests or within a head.
        case head
        /// A request is with the handler, or its answer is being written.
        case serving
        /// The answer is written; what is left of the request's body is discarded.
        case draining
        /// Nothing more will be written; the client gets time to read and to close.
        case lingering
        /// Waits for the last bytes to leave, then closes.
        case closing
        case closed
    }

    let shared: LoopContext
    let loop: any EventLoop
    private let released: () -> Void

    /// Its place in `LoopContext.connections`; -1 when not there.
    var slot = -1
    var context: ChannelHandlerContext?
    var allocator = ByteBufferAllocator()
    var phase = Phase.head
    /// Bytes received and not yet understood.
    ///
    /// Reading stops while there are any that cannot be used.
    var pending = ByteBuffer()
    /// The parser of a head that has come in part.
    var parser: HTTPHeadParser?
    /// When the first part of that head came.
    var headStart = NIODeadline.uptimeNanoseconds(0)
    /// When something last moved.
    var stamp = NIODeadline.uptimeNanoseconds(0)
    /// When draining or lingering ends.
    var deadline = NIODeadline.uptimeNanoseconds(0)
    /// Bytes waiting in the channel when last looked at.
    var bufferedBefore = 0
    var inputClosed = false
    /// What the channel last said: asking it costs more than parsing a head.
    private(set) var isWritable = true

    // The request being served.
    var requestID: UInt64 = 0
    var isHead = false
    var isHTTP10 = false
    var keepAlive = true
    var awaitsContinue = false
    var framing = BodyFraming.complete
    var reader = BodyReader.waiting
    var bodyLimit: UInt64 = 0
    var bodyReceived: UInt64 = 0
    var collected: ByteBuffer?
    var discardLeft = 0
    var pauses = 0

    // Its answer.
    var hasResponded = false
    /// Whether the time limit for writing runs.
    var isWriting = false
    var mustLinger = false
    var pump: ResponsePump?

    var isProcessing = false
    var needsFlush = false
    /// Whether the next request waits until the client has read earlier answers.
    var awaitsWritability = false
    private var readHeldBack = false
    private var address: String?

    /// A handler; `released` is called once, when the connection is gone.
    init(shared: LoopContext, released: @escaping () -> Void) {
        self.shared = shared
        self.released = released
        loop = shared.loop
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        allocator = context.channel.allocator
        stamp = shared.clock
        shared.add(self)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        connectionLost()
        self.context = nil
        released()
    }

    func channelActive(context: ChannelHandlerContext) {
        stamp = shared.clock
        if shared.isDraining { close() }
    }

    func channelInactive(context: ChannelHandlerContext) { connectionLost() }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        shared.logger.debug("connection closed", metadata: ["error": "\(error)"])
        close()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var received = unwrapInboundIn(data)
        if pending.readableBytes == 0 {
            pending = received
        } else {
            pending.discardReadBytes()
            pending.writeBuffer(&received)
        }
        stamp = shared.clock
        process()
    }

    func read(context: ChannelHandlerContext) {
        if wantsBytes { context.read() } else { readHeldBack = true }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        isWritable = context.channel.isWritable
        guard awaitsWritability, isWritable else { return }
        stamp = shared.clock
        process()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? ChannelEvent, event == .inputClosed {
            inputClosed = true
            process()
        }
    }

    /// Whether bytes from the client are of use now.
    private var wantsBytes: Bool {
        switch phase {
        case .head: !awaitsWritability || pending.readableBytes == 0
        case .serving:
            switch reader {
            case .collect, .stream, .discard:
                framing.isComplete ? pending.readableBytes == 0 : pauses == 0
            case .waiting, .failed: pending.readableBytes == 0
            }
        case .draining, .lingering: true
        case .closing, .closed: false
        }
    }

    /// Does all that the bytes received and the state allow, then flushes once.
    func process() {
        guard !isProcessing else { return }
        isProcessing = true
        repeat {
            while step() {}
            if needsFlush {
                needsFlush = false
                context?.flush()
            }
        } while mayGoOn
        isProcessing = false
        if pending.readableBytes == 0 { pending = ByteBuffer() }
        if readHeldBack, wantsBytes {
            readHeldBack = false
            context?.read()
        }
    }

    private var mayGoOn: Bool {
        phase == .head && awaitsWritability && isWritable
    }

    /// One step; false when more bytes or an answer are needed.
    private func step() -> Bool {
        switch phase {
        case .head: return takeHead()
        case .serving: return feedBody()
        case .draining: return drainBody()
        case .lingering:
            discardLeft -= pending.readableBytes
            pending = ByteBuffer()
            if inputClosed || discardLeft < 0 { close() }
            return false
        case .closing, .closed:
            pending = ByteBuffer()
            return false
        }
    }

    /// Closes at once; bytes not yet written are lost.
    func close() {
        guard phase != .closed else { return }
        phase = .closed
        context?.close(promise: nil)
    }

    /// Closes when everything written has left.
    func closeAfterWrites() {
        guard phase != .closed, phase != .closing else { return }
        guard hasUnsentBytes, let context else { return close() }
        phase = .closing
        stamp = shared.clock
        needsFlush = false
        let promise = loop.makePromise(of: Void.self)
        promise.futureResult.assumeIsolated().whenComplete { _ in self.close() }
        context.writeAndFlush(wrapOutboundOut(.byteBuffer(ByteBuffer())), promise: promise)
    }

    /// Bytes written that the kernel has not taken yet.
    var bufferedBytes: Int {
        guard let options = context?.channel.syncOptions else { return 0 }
        return (try? options.getOption(.bufferedWritableBytes)) ?? 0
    }

    /// Whether bytes written have not left yet.
    var hasUnsentBytes: Bool { needsFlush || bufferedBytes > 0 }

    /// Cleans up when the channel is gone.
    ///
    /// May be called more than once.
    private func connectionLost() {
        phase = .closed
        shared.remove(self)
        pump?.cancel()
        pump = nil
        failBody(.disconnected)
    }

    /// Whether the exchange with this id is under way and the client there.
    func isCurrent(_ id: UInt64) -> Bool { phase == .serving && id == requestID }

    var remoteAddress: String {
        if let address { return address }
        var found = context?.channel.remoteAddress?.ipAddress ?? ""
        // An IPv4 client of a socket that serves both families.
        if found.hasPrefix("::ffff:"), found.contains(".") { found.removeFirst(7) }
        if context != nil { address = found }
        return found
    }

    var isFromLoopback: Bool {
        let address = remoteAddress
        return address.hasPrefix("127.") || address == "::1"
    }
}
