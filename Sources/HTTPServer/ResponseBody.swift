import Glibc
public import NIOCore

/// What follows the head of an answer.
public enum ResponseBody {
    /// Nothing; `Content-Length: 0`.
    case empty
    /// Bytes in memory.
    ///
    /// Small ones leave in one write together with the head.
    case bytes(ByteBuffer)
    /// Nothing is sent but the length is announced: the answer to HEAD.
    case omitted(length: UInt64)
    /// Nothing is sent and no length is announced (304, 204).
    case none
    /// `length` bytes of an open file from `offset`.
    ///
    /// The server owns `descriptor` from here on and closes it.
    case file(descriptor: CInt, offset: UInt64, length: UInt64)
    /// Pieces that `source` makes one after the other, each asked for when the one before it was
    /// written.
    ///
    /// `length` `nil`: chunked for HTTP/1.1, until close for HTTP/1.0.
    case stream(length: UInt64?, source: any BodySource)

    /// Gives back what the body holds when it will not be sent.
    func discard() {
        switch self {
        case .empty, .bytes, .omitted, .none: break
        case .file(let descriptor, _, _): _ = close(descriptor)
        case .stream(_, let source): source.finished()
        }
    }
}

/// Makes the pieces of a streamed body.
///
/// Called on the event loop, one call at a time.
public protocol BodySource: AnyObject {
    /// The next piece; `nil` at the end.
    ///
    /// A failure breaks the connection, so that the client notices.
    func next(on loop: any EventLoop) -> EventLoopFuture<ByteBuffer?>
    /// No more pieces will be asked for: the body is complete or the connection is gone.
    ///
    /// Called once.
    func finished()
}
