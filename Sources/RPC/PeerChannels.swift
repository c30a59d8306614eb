public import GRPCCore
public import GRPCNIOTransportHTTP2Posix
public import NIOCore
internal import Synchronization
public import Wire

/// The transport of every call to another server.
public typealias HTTP2Transport = HTTP2ClientTransport.Posix

/// Connections to other servers: one per address for calls, and one of its own for each long
/// stream.
///
/// A connection that was lost is opened anew with the next call, without a pause.
public final class PeerChannels: Sendable {
    /// What calls are made with; `MasterPb_Seaweed.Client(wrapping:)` and the like name the methods.
    public typealias Client = GRPCClient<HTTP2Transport>

    /// Addresses with a connection; beyond it the one that was used least recently is closed.
    public static let usualConnectionLimit = 512
    /// Long streams at once.
    public static let streamLimit = 1024

    private final class Connection: Sendable {
        let client: Client
        let runner: Task<Void, Never>

        init(_ client: Client) {
            self.client = client
            runner = Task { try? await client.runConnections() }
        }

        func close() async {
            client.beginGracefulShutdown()
            runner.cancel()
            await runner.value
        }
    }

    private struct Shared {
        var connection: Connection
        var users = 0
        var lastUse: UInt64 = 0
    }

    private struct State {
        var shared: [String: Shared] = [:]
        var streams: [ObjectIdentifier: Connection] = [:]
        /// No new calls go there, some are under way.
        var retired: [ObjectIdentifier: Connection] = [:]
        var clock: UInt64 = 0
        var isClosed = false
    }

    private let group: any EventLoopGroup
    private let connectionLimit: Int
    private let state = Mutex(State())

    /// No connections yet; they run on `group`.
    public init(
        group: any EventLoopGroup, connectionLimit: Int = PeerChannels.usualConnectionLimit
    ) {
        self.group = group
        self.connectionLimit = connectionLimit
    }

    /// Makes a call that may take `timeout`.
    ///
    /// `body` must pass the options on. With `waitsForConnection` a server that cannot be reached is
    /// waited for, else it is an error at once. Any other error `body` throws is thrown as a
    /// ``Wire/PeerError`` that names the address.
    public func call<R: Sendable>(
        _ address: PeerAddress, timeout: Duration, waitsForConnection: Bool = false,
        _ body: @Sendable (Client, CallOptions) async throws -> R
    ) async throws(PeerError) -> R {
        let connection = try acquire(address)
        defer { release(address, connection) }
        do {
            return try await body(
                connection.client,
                RPCSettings.options(timeout: timeout, waitsForConnection: waitsForConnection))
        } catch {
            if (error as? RPCError)?.code == .unavailable { drop(address, connection) }
            throw PeerError(error, from: address)
        }
    }

    /// Makes a call on a connection of its own, which is closed when `body` returns; for streams
    /// that stay open.
    public func stream<R: Sendable>(
        _ address: PeerAddress, timeout: Duration? = nil,
        _ body: @Sendable (Client, CallOptions) async throws -> R
    ) async throws(PeerError) -> R {
        let connection = Connection(try makeClient(address))
        let problem = state.withLock { state -> String? in
            if state.isClosed { return "this server is stopping" }
            if state.streams.count >= PeerChannels.streamLimit {
                return "\(PeerChannels.streamLimit) streams are open already"
            }
            state.streams[ObjectIdentifier(connection)] = connection
            return nil
        }
        if let problem {
            await connection.close()
            throw PeerError(.unreachable, "\(address): \(problem)")
        }
        let result: Result<R, PeerError>
        do {
            result = .success(
                try await body(
                    connection.client, RPCSettings.options(timeout: timeout)))
        } catch {
            result = .failure(PeerError(error, from: address))
        }
        _ = state.withLock { $0.streams.removeValue(forKey: ObjectIdentifier(connection)) }
        await connection.close()
        return try result.get()
    }

    /// Closes every connection; calls under way fail, later ones too.
    public func close() async {
        let connections = state.withLock { state in
            state.isClosed = true
            defer {
                state.shared = [:]
                state.streams = [:]
                state.retired = [:]
            }
            return state.shared.values.map(\.connection) + state.streams.values
                + state.retired.values
        }
        await withDiscardingTaskGroup { group in
            for connection in connections { group.addTask { await connection.close() } }
        }
    }

    /// How many addresses have a connection, and how many streams are open.
    public var counts: (shared: Int, streams: Int) {
        state.withLock { ($0.shared.count, $0.streams.count) }
    }

    private func acquire(_ address: PeerAddress) throws(PeerError) -> Connection {
        if let connection = reuse(address) { return connection }
        let made = Connection(try makeClient(address))
        let (connection, leftOver) = state.withLock { state -> (Connection?, [Connection]) in
            if state.isClosed { return (nil, [made]) }
            var leftOver: [Connection] = []
            if state.shared[address.grpc] == nil {
                if state.shared.count >= connectionLimit {
                    let unused = state.shared.filter { $0.value.users == 0 }
                    guard let oldest = unused.min(by: { $0.value.lastUse < $1.value.lastUse })
                    else {
                        return (nil, [made])
                    }
                    state.shared[oldest.key] = nil
                    leftOver.append(oldest.value.connection)
                }
                state.shared[address.grpc] = Shared(connection: made)
            } else {
                leftOver.append(made)
            }
            return (PeerChannels.take(address, &state), leftOver)
        }
        for connection in leftOver { retire(connection) }
        guard let connection else {
            throw PeerError(
                .unreachable,
                "\(address): no connection: this server is stopping, or has "
                    + "\(connectionLimit) connections in use")
        }
        return connection
    }

    private func reuse(_ address: PeerAddress) -> Connection? {
        state.withLock { PeerChannels.take(address, &$0) }
    }

    private static func take(_ address: PeerAddress, _ state: inout State) -> Connection? {
        state.clock += 1
        state.shared[address.grpc]?.users += 1
        state.shared[address.grpc]?.lastUse = state.clock
        return state.shared[address.grpc]?.connection
    }

    private func release(_ address: PeerAddress, _ connection: Connection) {
        state.withLock { state in
            guard state.shared[address.grpc]?.connection === connection else { return }
            state.shared[address.grpc]?.users -= 1
        }
    }

    /// Forgets a connection that failed, so that the next call does not wait for its next attempt.
    private func drop(_ address: PeerAddress, _ connection: Connection) {
        let isShared = state.withLock { state in
            guard state.shared[address.grpc]?.connection === connection else { return false }
            state.shared[address.grpc] = nil
            return true
        }
        if isShared { retire(connection) }
    }

    /// Lets calls under way finish.
    private func retire(_ connection: Connection) {
        state.withLock { $0.retired[ObjectIdentifier(connection)] = connection }
        connection.client.beginGracefulShutdown()
        Task {
            await connection.runner.value
            state.withLock { _ = $0.retired.removeValue(forKey: ObjectIdentifier(connection)) }
        }
    }

    private func makeClient(_ address: PeerAddress) throws(PeerError) -> Client {
        guard (1...Int(UInt16.max)).contains(address.grpcPort) else {
            throw PeerError(
                .unreachable,
                "\(address.http) has no gRPC port: \(address.port) + \(PeerAddress.grpcOffset) is no "
                    + "port, and none is given (host:port.grpcPort)")
        }
        do {
            return Client(
                transport: try HTTP2Transport(
                    target: PeerChannels.target(address), transportSecurity: .plaintext,
                    config: RPCSettings.client, eventLoopGroup: group))
        } catch {
            throw PeerError(error, from: address)
        }
    }

    private static func target(_ address: PeerAddress) -> any ResolvableTarget {
        if address.host.contains(":") {
            return .ipv6(address: address.host, port: address.grpcPort)
        }
        let isNumber = address.host.utf8.allSatisfy { $0 == 0x2e || ($0 >= 0x30 && $0 <= 0x39) }
        return isNumber
            ? .ipv4(address: address.host, port: address.grpcPort)
            : .dns(host: address.host, port: address.grpcPort)
    }
}
