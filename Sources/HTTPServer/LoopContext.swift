import Logging
import NIOCore

/// What the connections of one event loop share: clock, date, scratch buffer, timers.
final class LoopContext: @unchecked Sendable {
    // `@unchecked`: constants apart, used on `loop` only; other threads get there with
    // `loop.execute`.
    let loop: any EventLoop
    let limits: Limits
    let handler: any RequestHandler
    let logger: Logger
    let mailbox: ResponseMailbox
    private let wallClock: @Sendable () -> Int64

    /// Advances with the sweeps, and never by much at once: a loop that was held up does not take
    /// its clients for slow.
    private(set) var clock = NIODeadline.uptimeNanoseconds(0)
    private(set) var isDraining = false
    /// `Date: …` and its line end, one second exact.
    private(set) var dateLine: [UInt8] = []
    /// Status line and date of the most frequent answer.
    private(set) var okLines: [UInt8] = []

    private var connections: [ConnectionHandler] = []
    private var scratch = ByteBuffer()
    private var dateSecond = Int64.min
    private var lastSweep = NIODeadline.now()
    private var sweeper: RepeatedTask?
    private var whenEmpty: EventLoopPromise<Void>?

    init(
        loop: any EventLoop, limits: Limits, handler: any RequestHandler, logger: Logger,
        wallClock: @escaping @Sendable () -> Int64 = currentUnixSeconds
    ) {
        self.loop = loop
        self.limits = limits
        self.handler = handler
        self.logger = logger
        self.wallClock = wallClock
        mailbox = ResponseMailbox(loop: loop)
        refreshDate()
    }

    /// Starts the timer behind every time limit.
    func startSweeping() {
        let interval = limits.sweepInterval
        lastSweep = .now()
        sweeper = loop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { _ in
            self.sweep(elapsed: .now() - self.lastSweep)
            self.lastSweep = .now()
        }
    }

    /// Advances the clock and lets every connection look at its time limits.
    func sweep(elapsed: TimeAmount) {
        let interval = limits.sweepInterval
        clock = clock + min(elapsed, .nanoseconds(interval.nanoseconds * 2))
        refreshDate()
        // From the end: a connection that closes removes itself and moves the last one into its
        // place.
        var index = connections.count - 1
        while index >= 0 {
            if index < connections.count { connections[index].sweep() }
            index -= 1
        }
    }

    private func refreshDate() {
        let second = wallClock()
        guard second != dateSecond else { return }
        dateSecond = second
        dateLine =
            Array("Date: ".utf8) + HTTPDate.bytes(unixSeconds: second) + Array("\r\n".utf8)
        okLines = Array("HTTP/1.1 200 OK\r\n".utf8) + dateLine
    }

    /// A cleared buffer for one answer; the last one again when its bytes have left.
    func takeScratch(capacity: Int) -> ByteBuffer {
        var buffer = ByteBuffer()
        swap(&buffer, &scratch)
        buffer.clear(minimumCapacity: capacity)
        return buffer
    }

    /// Keeps a buffer for the next answer.
    func keepScratch(_ buffer: ByteBuffer) { scratch = buffer }

    /// Registers a connection.
    func add(_ connection: ConnectionHandler) {
        connection.slot = connections.count
        connections.append(connection)
    }

    /// Forgets a connection.
    func remove(_ connection: ConnectionHandler) {
        let slot = connection.slot
        guard slot >= 0, slot < connections.count, connections[slot] === connection else { return }
        connection.slot = -1
        let last = connections.removeLast()
        if last !== connection {
            connections[slot] = last
            last.slot = slot
        }
        if connections.isEmpty, let whenEmpty {
            self.whenEmpty = nil
            whenEmpty.succeed(())
        }
    }

    /// Closes idle connections, and the others after their answer; completes when none is left.
    func drain() -> EventLoopFuture<Void> {
        isDraining = true
        for connection in connections { connection.closeIfIdle() }
        guard !connections.isEmpty else { return loop.makeSucceededVoidFuture() }
        let promise = whenEmpty ?? loop.makePromise(of: Void.self)
        whenEmpty = promise
        return promise.futureResult
    }

    /// Closes every connection.
    func closeAll() {
        for connection in connections { connection.close() }
    }

    /// Ends the timer.
    func stop() {
        sweeper?.cancel()
        sweeper = nil
    }
}
