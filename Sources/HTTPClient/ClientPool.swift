import Glibc
import NIOCore
import NIOPosix

/// The connections of one event loop to all servers.
///
/// Lives on its event loop.
final class ClientPool {
    /// What there is for one address.
    private struct Lane {
        var idle: [ClientConnection] = []
        /// Connections open or being opened.
        var count = 0
        var waiting: [ClientCall] = []
    }

    let loop: any EventLoop
    let limits: HTTPClient.Limits
    private var lanes: [String: Lane] = [:]
    private var active: [ObjectIdentifier: ClientConnection] = [:]
    private var sweeper: Scheduled<Void>?
    private var isShutDown = false

    /// How often time limits are looked at.
    private static let sweepInterval = TimeAmount.milliseconds(500)

    init(loop: any EventLoop, limits: HTTPClient.Limits) {
        self.loop = loop
        self.limits = limits
    }

    /// Starts a call on a free connection, or a new one, or lets it wait.
    func run(_ call: ClientCall) {
        guard !isShutDown else { return call.fail(.cancelled(call.address)) }
        startSweeping()
        let address = call.address
        if call.mayReuse, let idle = lanes[address]?.idle.popLast() {
            start(call, on: idle)
        } else if lanes[address, default: Lane()].count < limits.connections {
            lanes[address, default: Lane()].count += 1
            connect(call)
        } else if lanes[address, default: Lane()].waiting.count < limits.waiting {
            lanes[address, default: Lane()].waiting.append(call)
        } else {
            call.fail(.overloaded(address, limit: limits.waiting))
        }
    }

    private func start(_ call: ClientCall, on connection: ClientConnection) {
        active[ObjectIdentifier(connection)] = connection
        connection.start(call)
    }

    private func connect(_ call: ClientCall) {
        guard let (host, port) = ClientPool.split(call.address) else {
            closed(call.address)
            return call.fail(.address(call.address))
        }
        let handler = NIOLoopBound(
            ClientConnection(pool: self, address: call.address), eventLoop: loop)
        let bootstrap = ClientBootstrap(group: loop)
            .connectTimeout(limits.connect)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(.maxMessagesPerRead, value: 1)
            .channelOption(
                .recvAllocator,
                value: AdaptiveRecvByteBufferAllocator(
                    minimum: 1024, initial: 2048, maximum: 256 << 10)
            )
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(handler.value)
                }
            }
        let connecting =
            if let address = try? SocketAddress(ipAddress: host, port: port) {
                bootstrap.connect(to: address)
            } else {
                bootstrap.connect(host: host, port: port)
            }
        connecting.hop(to: loop).assumeIsolated().whenComplete { [self] result in
            switch result {
            case .success where call.isOver || isShutDown:
                call.fail(.cancelled(call.address))
                handler.value.close()
            case .success: start(call, on: handler.value)
            case .failure(let error):
                call.fail(.connect(call.address, reason: ClientPool.reason(of: error)))
                closed(call.address)
            }
        }
    }

    /// A connection has done its request and can take another.
    func release(_ connection: ClientConnection) {
        active[ObjectIdentifier(connection)] = nil
        while let call = lanes[connection.address]?.waiting.popFirst() {
            if call.isOver { continue }
            return start(call, on: connection)
        }
        connection.idleSince = .now()
        lanes[connection.address, default: Lane()].idle.append(connection)
    }

    /// A connection that was open is gone.
    func closed(_ connection: ClientConnection) {
        active[ObjectIdentifier(connection)] = nil
        lanes[connection.address]?.idle.removeAll { $0 === connection }
        closed(connection.address)
    }

    /// One connection fewer: who waits may open another.
    private func closed(_ address: String) {
        lanes[address]?.count -= 1
        while let call = lanes[address]?.waiting.popFirst() {
            if call.isOver { continue }
            lanes[address]?.count += 1
            return connect(call)
        }
        if let lane = lanes[address], lane.count <= 0 { lanes[address] = nil }
    }

    private func startSweeping() {
        guard sweeper == nil, !isShutDown else { return }
        sweeper = loop.assumeIsolated().scheduleTask(in: ClientPool.sweepInterval) {
            [weak self] in
            guard let self else { return }
            self.sweeper = nil
            self.sweep(.now())
        }
    }

    private func sweep(_ now: NIODeadline) {
        for connection in Array(active.values) { connection.sweep(now) }
        for (address, lane) in lanes {
            for connection in lane.idle where connection.idleSince + limits.idle < now {
                connection.close()
            }
            guard lane.waiting.contains(where: { $0.isLate(now) }) else { continue }
            lanes[address]?.waiting.removeAll { $0.isLate(now) }
            for call in lane.waiting where call.isLate(now) { call.timeOut() }
        }
        if !lanes.isEmpty { startSweeping() }
    }

    func shutdown() {
        isShutDown = true
        sweeper?.cancel()
        sweeper = nil
        let (lanes, active) = (lanes, active)
        self.lanes = [:]
        for lane in lanes.values {
            for call in lane.waiting { call.fail(.cancelled(call.address)) }
            for connection in lane.idle { connection.close() }
        }
        for connection in active.values { connection.close() }
    }

    /// Why a connection failed, without the layers it failed through.
    private static func reason(of error: any Error) -> String {
        let cause = (error as? NIOConnectionError)?.connectionErrors.first?.error ?? error
        if let code = (cause as? IOError)?.errnoCode {
            return unsafe String(cString: strerror(code))
        }
        if case ChannelError.connectTimeout(let time) = cause {
            return "no answer within \(time.nanoseconds / 1_000_000) ms"
        }
        return "\(cause)"
    }

    /// Host and port of an address; an IPv6 host loses its brackets.
    static func split(_ address: String) -> (host: String, port: Int)? {
        guard let colon = address.lastIndex(of: ":"),
            let port = Int(address[address.index(after: colon)...]), (1...65535).contains(port)
        else { return nil }
        var host = address[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        return host.isEmpty ? nil : (String(host), port)
    }
}

extension Array {
    /// Takes the first element.
    fileprivate mutating func popFirst() -> Element? { isEmpty ? nil : removeFirst() }
}
