public import NIOCore
import NIOPosix

/// Sends HTTP/1.1 requests to other servers over connections that are kept open.
///
/// Requests run on the event loop of whoever asks, so that an answer costs no change of threads.
/// Every loop has connections of its own.
public final class HTTPClient: Sendable {
    /// Bounds on what one event loop keeps.
    public struct Limits: Sendable {
        /// Connections to one address.
        public var connections = 128
        /// Requests that wait for a connection to one address; more fail at once.
        public var waiting = 4096
        /// How long a connection stays open without a request: shorter than servers wait.
        public var idle = TimeAmount.seconds(20)
        /// How long connecting may take.
        public var connect = TimeAmount.seconds(3)
        /// Bytes of an answer's head.
        public var head = 64 << 10
        /// Bytes of an answer that is collected in memory.
        public var collected: UInt64 = 1 << 20

        /// The defaults.
        public init() {}
    }

    private let pools: [ObjectIdentifier: NIOLoopBoundBox<ClientPool>]
    private let loops: [any EventLoop]
    private let limits: Limits

    /// A client for the event loops of a group.
    public init(group: any EventLoopGroup, limits: Limits = Limits()) {
        self.limits = limits
        var pools: [ObjectIdentifier: NIOLoopBoundBox<ClientPool>] = [:]
        for loop in group.makeIterator() {
            pools[ObjectIdentifier(loop)] = NIOLoopBoundBox.makeBoxSendingValue(
                ClientPool(loop: loop, limits: limits), eventLoop: loop)
        }
        self.pools = pools
        loops = Array(group.makeIterator())
    }

    /// Sends a request and collects the answer; `completion` is called once, on `loop`.
    ///
    /// Called on `loop`, one of the group's.
    public func send(
        _ request: ClientRequest, on loop: any EventLoop,
        completion: @escaping (Result<ClientAnswer, ClientError>) -> Void
    ) {
        let collector = Collector(
            address: request.address, limit: limits.collected, completion: completion)
        collector.call = open(request, on: loop, receiver: collector)
    }

    /// Sends a request; `receiver` gets the answer as it comes, on `loop`.
    ///
    /// Called on `loop`, one of the group's.
    @discardableResult
    public func open(
        _ request: ClientRequest, on loop: any EventLoop, receiver: any AnswerReceiver
    ) -> ClientCall {
        let call = ClientCall(request, receiver: receiver, loop: loop)
        guard let pool = pools[ObjectIdentifier(loop)] else {
            preconditionFailure("requests are made on the event loops the client was given")
        }
        pool.value.run(call)
        return call
    }

    /// Sends a request from a task; any loop of the group does it.
    ///
    /// `make` is called on that loop.
    public func send(
        _ make: @escaping @Sendable () -> ClientRequest
    ) async throws(ClientError) -> ClientAnswer {
        guard let loop = loops.randomElement() else { throw .cancelled("no event loop") }
        let result = await withCheckedContinuation { continuation in
            loop.execute {
                self.send(make(), on: loop) { continuation.resume(returning: $0) }
            }
        }
        return try result.get()
    }

    /// Closes every connection; requests under way fail, later ones too.
    public func shutdown() {
        for loop in loops {
            guard let pool = pools[ObjectIdentifier(loop)] else { continue }
            loop.execute { pool.value.shutdown() }
        }
    }
}

/// Collects an answer in memory.
private final class Collector: AnswerReceiver {
    let address: String
    let limit: UInt64
    weak var call: ClientCall?
    private var completion: ((Result<ClientAnswer, ClientError>) -> Void)?
    private var head: AnswerHead?
    private var body = ByteBuffer()

    init(
        address: String, limit: UInt64,
        completion: @escaping (Result<ClientAnswer, ClientError>) -> Void
    ) {
        self.address = address
        self.limit = limit
        self.completion = completion
    }

    func begin(_ head: AnswerHead) { self.head = head }

    func receive(_ piece: ByteBuffer) {
        guard UInt64(body.readableBytes + piece.readableBytes) <= limit else {
            finish(.failure(.tooLarge(address, limit: limit)))
            call?.cancel()
            return
        }
        if body.readableBytes == 0 {
            body = piece
        } else {
            body.writeImmutableBuffer(piece)
        }
    }

    func end() {
        guard let head else { return finish(.failure(.closed(address))) }
        finish(.success(ClientAnswer(head: head, body: body)))
    }

    func failed(_ error: ClientError) { finish(.failure(error)) }

    private func finish(_ result: Result<ClientAnswer, ClientError>) {
        let completion = completion
        self.completion = nil
        completion?(result)
    }
}
