public import NIOCore

/// Takes the pieces of a request body as they arrive.
///
/// Called on the event loop.
///
/// Either `end()` or `failed(_:)` is called once at the last, unless the handler answers before the
/// body is complete: then the rest is discarded and nothing more is called.
public protocol BodySink: AnyObject {
    /// One piece, never empty.
    ///
    /// Call `exchange.pauseReading()` in here when more would be too much.
    func receive(_ piece: ByteBuffer)
    /// The body is complete.
    func end()
    /// The body will never be complete: the client went away, lied, or was too slow.
    ///
    /// No answer is possible unless `error.canAnswer`.
    func failed(_ error: BodyError)
}

/// Why a request body did not arrive whole.
public enum BodyError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Larger than the limit given.
    ///
    /// The rest is drained (up to a bound) so that an answer can be sent.
    case tooLarge(limit: UInt64)
    /// The connection closed before the end.
    case disconnected
    /// Nothing came for too long.
    case timedOut
    /// Chunked coding was broken, or the body was asked for twice.
    case malformed(String)

    /// Whether an answer can still be sent.
    public var canAnswer: Bool {
        switch self {
        case .tooLarge, .timedOut, .malformed: true
        case .disconnected: false
        }
    }

    /// The status that tells the client: 413, 408 or 400.
    public var status: HTTPStatus {
        switch self {
        case .tooLarge: 413
        case .timedOut: 408
        case .malformed, .disconnected: 400
        }
    }

    /// What happened to the body.
    public var description: String {
        switch self {
        case .tooLarge(let limit): "request body larger than \(limit) bytes"
        case .disconnected: "connection closed before the request body was complete"
        case .timedOut: "request body stalled"
        case .malformed(let reason): "malformed request body: \(reason)"
        }
    }
}

/// Where a request body's bytes end.
enum BodyFraming {
    /// Nothing is left to come.
    case complete
    /// So many bytes are left.
    case length(UInt64)
    /// Chunks.
    case chunked(ChunkedDecoder)

    var isComplete: Bool {
        if case .complete = self { true } else { false }
    }
}

/// What happens to a request body's bytes.
enum BodyReader {
    /// The handler has not asked for them yet.
    case waiting
    /// They are collected for one call.
    case collect(completion: (Result<ByteBuffer, BodyError>) -> Void)
    /// They go to a sink.
    case stream(any BodySink)
    /// They are dropped.
    case discard
    /// They cannot be made sense of any more.
    case failed
}
