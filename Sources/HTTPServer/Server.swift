public import Logging
public import NIOCore
import NIOPosix
import Synchronization

/// Answers requests.
///
/// One instance serves every connection of a server, on all event loops at once.
public protocol RequestHandler: Sendable {
    /// Called on the event loop when the head is complete; must not block.
    ///
    /// The answer may be sent at once or later. A body that the handler does not read is drained or
    /// the connection closed.
    func handle(_ request: HTTPRequest, _ exchange: Exchange)
}

/// An HTTP/1.1 server on SwiftNIO.
public final class HTTPServer: Sendable {
    private let channel: any Channel
    private let loops: [LoopContext]

    private init(channel: any Channel, loops: [LoopContext]) {
        self.channel = channel
        self.loops = loops
    }

    /// Binds `host:port` (port 0 picks a free one) and serves until `shutdown`.
    ///
    /// Throws what binding throws.
    public static func start(
        host: String, port: Int, group: any EventLoopGroup, limits: Limits = Limits(),
        logger: Logger, handler: any RequestHandler
    ) async throws -> HTTPServer {
        var contexts: [ObjectIdentifier: LoopContext] = [:]
        for loop in group.makeIterator() {
            let context = LoopContext(loop: loop, limits: limits, handler: handler, logger: logger)
            contexts[ObjectIdentifier(loop)] = context
        }
        let open = ConnectionCount()
        let known = contexts
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 4096)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelOption(.maxMessagesPerRead, value: 1)
            .childChannelOption(
                .recvAllocator,
                value: AdaptiveRecvByteBufferAllocator(
                    minimum: 2048, initial: 4096, maximum: 128 << 10)
            )
            .childChannelInitializer { channel in
                guard let shared = known[ObjectIdentifier(channel.eventLoop)],
                    open.enter(limit: limits.connections)
                else { return channel.eventLoop.makeFailedFuture(ChannelError.ioOnClosedChannel) }
                return channel.eventLoop.makeCompletedFuture {
                    do {
                        try channel.pipeline.syncOperations.addHandler(
                            ConnectionHandler(shared: shared) { open.leave() })
                    } catch {
                        open.leave()
                        throw error
                    }
                }
            }
        let channel = try await bind(bootstrap, host: host, port: port)
        let loops = Array(contexts.values)
        for context in loops { context.loop.execute { context.startSweeping() } }
        return HTTPServer(channel: channel, loops: loops)
    }

    private static func bind(
        _ bootstrap: ServerBootstrap, host: String, port: Int
    ) async throws -> any Channel {
        if let address = try? SocketAddress(ipAddress: host, port: port) {
            return try await bootstrap.bind(to: address).get()
        }
        return try await bootstrap.bind(host: host, port: port).get()
    }

    /// The port bound; 0 after `shutdown`.
    public var port: Int { channel.localAddress?.port ?? 0 }

    /// Stops accepting, lets answers under way finish for at most `grace`, then closes everything.
    public func shutdown(grace: TimeAmount) async {
        try? await channel.close().get()
        let drained = loops.map { context in
            context.loop.flatSubmit {
                let whenEmpty = context.drain()
                let cut = context.loop.scheduleTask(in: grace) { context.closeAll() }
                whenEmpty.whenComplete { _ in cut.cancel() }
                return whenEmpty
            }
        }
        for future in drained { try? await future.get() }
        for context in loops { context.loop.execute { context.stop() } }
    }
}

/// Counts open connections over all event loops.
private final class ConnectionCount: Sendable {
    private let count = Atomic(0)

    /// Counts one more, unless there are `limit` already.
    func enter(limit: Int) -> Bool {
        if count.wrappingAdd(1, ordering: .relaxed).newValue <= limit { return true }
        count.wrappingSubtract(1, ordering: .relaxed)
        return false
    }

    func leave() {
        count.wrappingSubtract(1, ordering: .relaxed)
    }
}
