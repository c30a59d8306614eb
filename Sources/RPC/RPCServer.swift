public import GRPCCore
internal import GRPCNIOTransportHTTP2Posix
public import Logging
internal import NIOCore
public import NIOPosix
internal import Synchronization

/// Why a server cannot be started.
public enum RPCServerError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The host has no address, or the port is taken or not allowed.
    case cannotListen(host: String, port: Int, reason: String)

    /// What was wanted, why it failed, what to do.
    public var description: String {
        switch self {
        case .cannotListen(let host, let port, let reason):
            "cannot listen for gRPC on \(host):\(port): \(reason); is another server running there? "
                + "-port.grpc chooses another port"
        }
    }
}

/// A gRPC server on one port: plain HTTP/2, no compression.
///
/// A method that none of its services has is answered `UNIMPLEMENTED`.
public final class RPCServer: Sendable {
    typealias Transport = HTTP2ServerTransport.Posix

    /// Connections at once; further ones are closed at once.
    public static let connectionLimit = 4096

    /// The port it listens on.
    public let port: Int
    private let server: GRPCServer<Transport>
    private let serving: Task<(any Error)?, Never>

    private init(port: Int, server: GRPCServer<Transport>, serving: Task<(any Error)?, Never>) {
        self.port = port
        self.server = server
        self.serving = serving
    }

    /// Starts it; returns when it listens.
    ///
    /// `port` 0 picks a free one. Larger requests than `maxRequestBytes` are refused, and so are
    /// callers whose address (`10.1.2.3`, `fd00::1`) `admits` does not know.
    public static func start(
        host: String, port: Int, services: [any RegistrableRPCService],
        group: MultiThreadedEventLoopGroup, maxRequestBytes: Int = RPCSettings.messageBytes,
        admits: @escaping @Sendable (String) -> Bool = { _ in true }, logger: Logger
    ) async throws(RPCServerError) -> RPCServer {
        let address = try resolve(host, port)
        var config = RPCSettings.server
        config.rpc.maxRequestPayloadSize = maxRequestBytes
        config.channelDebuggingCallbacks.onAcceptTCPConnection = bound(logger)
        let transport = Transport(
            address: address, transportSecurity: .plaintext, config: config, eventLoopGroup: group)
        let server = GRPCServer(
            transport: transport, services: services,
            interceptors: [Gate(admits: admits), ErrorTexts()])
        let serving = Task { () -> (any Error)? in
            do {
                try await server.serve()
                return nil
            } catch {
                return error
            }
        }
        do {
            let bound = try await transport.listeningAddress
            let port = bound.ipv4?.port ?? bound.ipv6?.port ?? port
            return RPCServer(port: port, server: server, serving: serving)
        } catch {
            serving.cancel()
            let reason = await serving.value ?? error
            throw .cannotListen(host: host, port: port, reason: RPCServer.text(reason))
        }
    }

    /// Takes no more calls, lets those under way finish for at most `grace`, then ends them.
    ///
    /// Calling it twice does no harm.
    public func shutdown(grace: Duration) async {
        server.beginGracefulShutdown()
        let serving = serving
        let timer = Task {
            try? await Task.sleep(for: grace)
            serving.cancel()
        }
        _ = await serving.value
        timer.cancel()
    }

    private static func resolve(
        _ host: String, _ port: Int
    ) throws(RPCServerError) -> GRPCNIOTransportCore.SocketAddress {
        let name = host.isEmpty ? "0.0.0.0" : host
        do {
            let address = try NIOCore.SocketAddress.makeAddressResolvingHost(name, port: port)
            let number = address.ipAddress ?? name
            return number.contains(":")
                ? .ipv6(host: number, port: port) : .ipv4(host: number, port: port)
        } catch {
            throw .cannotListen(host: host, port: port, reason: "\(error)")
        }
    }

    /// Closes connections above the limit.
    private static func bound(
        _ logger: Logger
    ) -> @Sendable (any Channel) -> EventLoopFuture<Void> {
        let open = Counter()
        return { channel in
            let count = open.change(by: 1)
            channel.closeFuture.whenComplete { _ in open.change(by: -1) }
            if count > connectionLimit {
                logger.warning("more than \(connectionLimit) gRPC connections: closing a new one")
                channel.close(promise: nil)
            }
            return channel.eventLoop.makeSucceededVoidFuture()
        }
    }

    private final class Counter: Sendable {
        private let value = Atomic(0)

        @discardableResult
        func change(by difference: Int) -> Int {
            value.add(difference, ordering: .relaxed).newValue
        }
    }

    /// The innermost cause: what wraps it says only that something failed.
    private static func text(_ error: any Error) -> String {
        var error = error
        while let cause = (error as? RuntimeError)?.cause ?? (error as? RPCError)?.cause {
            error = cause
        }
        return "\(error)"
    }
}

/// Refuses callers by their address.
struct Gate: ServerInterceptor {
    let admits: @Sendable (String) -> Bool

    func intercept<Input: Sendable, Output: Sendable>(
        request: StreamingServerRequest<Input>, context: ServerContext,
        next:
            @Sendable (StreamingServerRequest<Input>, ServerContext) async throws
            -> StreamingServerResponse<Output>
    ) async throws -> StreamingServerResponse<Output> {
        let address = Gate.address(of: context.remotePeer)
        guard admits(address) else {
            throw RPCError(
                code: .permissionDenied,
                message: "calls from \(address) are not taken: start this server with a -whiteList "
                    + "that names it, or with -insecure")
        }
        return try await next(request, context)
    }

    /// The address in `ipv4:127.0.0.1:31415` or `ipv6:[::1]:443`.
    static func address(of peer: String) -> String {
        guard let family = peer.firstIndex(of: ":"), let port = peer.lastIndex(of: ":"),
            family < port
        else { return peer }
        let address = peer[peer.index(after: family)..<port]
        return String(address.hasPrefix("[") ? address.dropFirst().dropLast() : address)
    }
}
