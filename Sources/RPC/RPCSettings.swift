public import GRPCCore
internal import GRPCNIOTransportHTTP2Posix

/// Transport settings without which peers written in Go are cut off, and the bounds of this side.
public enum RPCSettings {
    /// Bytes of the largest message, either way; the Go original takes as much.
    public static let messageBytes = 1 << 30
    /// Bytes of the largest request a master needs to take: a heartbeat of half a million volumes.
    public static let heartbeatBytes = 64 << 20
    /// Calls at once on one connection.
    public static let streamsPerConnection = 1000
    /// Bytes a peer may send on a connection before they are read.
    static let serverWindowBytes = 16 << 20
    /// Silence after which the other side is pinged, and how long it may take to answer.
    static let keepaliveTime = Duration.seconds(60)
    /// How long a peer may take to answer a ping.
    static let keepaliveTimeout = Duration.seconds(20)
    /// The least time between a client's pings that is never too short: Go clients ping while data
    /// arrives.
    static let shortestPingInterval = Duration.milliseconds(1)
    /// A connection without calls is closed after this time, and opened anew when needed.
    static let idleTime = Duration.seconds(300)
    /// The longest pause between two attempts to connect.
    static let longestBackoff = Duration.seconds(2)

    /// What a server is started with.
    static var server: HTTP2ServerTransport.Posix.Config {
        .defaults { config in
            config.connection.keepalive = .init(
                time: keepaliveTime, timeout: keepaliveTimeout,
                clientBehavior: .init(
                    minPingIntervalWithoutCalls: shortestPingInterval, allowWithoutCalls: true))
            config.http2.targetWindowSize = serverWindowBytes
            config.http2.maxConcurrentStreams = streamsPerConnection
            config.rpc.maxRequestPayloadSize = messageBytes
        }
    }

    /// What a client connects with.
    static var client: HTTP2ClientTransport.Posix.Config {
        .defaults { config in
            // Go servers close connections that are pinged more often than every 20 s
            config.connection.keepalive = .init(
                time: keepaliveTime, timeout: keepaliveTimeout, allowWithoutCalls: false)
            config.connection.maxIdleTime = idleTime
            config.backoff = .init(
                initial: .milliseconds(100), max: longestBackoff, multiplier: 1.6, jitter: 0.2)
        }
    }

    /// Options of a call that may take `timeout`; `nil` for a stream without an end.
    public static func options(timeout: Duration?, waitsForConnection: Bool = false) -> CallOptions
    {
        var options = CallOptions.defaults
        options.timeout = timeout
        options.waitForReady = waitsForConnection
        // of both limits the transport applies the first to what is received
        options.maxRequestMessageBytes = messageBytes
        options.maxResponseMessageBytes = messageBytes
        return options
    }
}
