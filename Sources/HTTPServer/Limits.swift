public import NIOCore

/// Bounds on what clients can make the server do.
public struct Limits: Sendable {
    /// Bytes of request line and headers; more is answered 431.
    public var headBytes = 64 << 10
    /// Time from the first byte of a head to its end; then 408 and close.
    public var headTimeout = TimeAmount.seconds(10)
    /// Time a connection may stay idle between requests.
    public var idleTimeout = TimeAmount.seconds(30)
    /// Time without one byte of a body, either way; then close.
    public var stallTimeout = TimeAmount.seconds(30)
    /// Open connections; more are closed at once.
    public var connections = 16_384
    /// Bytes drained from an unread body before the connection is closed instead.
    public var drainBytes = 1 << 20

    /// The defaults.
    public init() {}

    /// `headTimeout` in seconds.
    public var headSeconds: Int {
        get { headTimeout.wholeSeconds }
        set { headTimeout = .seconds(Int64(newValue)) }
    }
    /// `idleTimeout` in seconds.
    public var idleSeconds: Int {
        get { idleTimeout.wholeSeconds }
        set { idleTimeout = .seconds(Int64(newValue)) }
    }
    /// `stallTimeout` in seconds.
    public var stallSeconds: Int {
        get { stallTimeout.wholeSeconds }
        set { stallTimeout = .seconds(Int64(newValue)) }
    }

    /// Header lines of one request; more are answered 431.
    static let headerLines = 1_000
    /// The largest body collected in one buffer, whatever limit the handler names.
    static let collectedBytes: UInt64 = 1 << 30
    /// Bytes of a body that are copied behind the head, so that both leave in one write.
    static let joinedBytes = 32 << 10
    /// Bytes handed to the socket at once from a larger body.
    static let segmentBytes = 4 << 20
    /// How long a connection is kept after its last answer for the client to read it.
    static let lingerTimeout = TimeAmount.seconds(2)

    /// How often connections are looked at: once a second, or more often when a time is shorter.
    var sweepInterval: TimeAmount {
        let shortest = min(headTimeout, min(idleTimeout, stallTimeout))
        return .nanoseconds(min(1_000_000_000, max(10_000_000, shortest.nanoseconds / 4)))
    }
}

extension TimeAmount {
    fileprivate var wholeSeconds: Int { Int(nanoseconds / 1_000_000_000) }
}
