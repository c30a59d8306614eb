/// Why a request to another server has no usable answer.
///
/// The description names the server and what happened.
public enum ClientError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The address is not `host:port`.
    case address(String)
    /// No connection could be made: nothing of the request reached the server.
    case connect(String, reason: String)
    /// The connection ended before the answer was complete.
    case closed(String)
    /// Nothing moved for the time allowed.
    case timedOut(String, seconds: Int64)
    /// The answer is not HTTP this client reads.
    case malformed(String, reason: String)
    /// The answer is larger than was allowed.
    case tooLarge(String, limit: UInt64)
    /// Too many requests to that server wait already.
    case overloaded(String, limit: Int)
    /// The body of the request could not be provided.
    case body(String, reason: String)
    /// The caller gave up.
    case cancelled(String)

    /// Whether nothing of the request can have reached the server.
    public var isBeforeSending: Bool {
        switch self {
        case .address, .connect, .overloaded: true
        default: false
        }
    }

    /// What happened, and with which server.
    public var description: String {
        switch self {
        case .address(let address): "\"\(address)\" is not host:port"
        case .connect(let address, let reason): "\(address) cannot be reached: \(reason)"
        case .closed(let address): "\(address) closed the connection before it answered"
        case .timedOut(let address, let seconds):
            "\(address) did not go on within \(seconds) s"
        case .malformed(let address, let reason):
            "\(address) sent an answer that is not HTTP: \(reason)"
        case .tooLarge(let address, let limit):
            "\(address) sent an answer of more than \(limit) bytes"
        case .overloaded(let address, let limit):
            "\(limit) requests to \(address) wait already, try again"
        case .body(let address, let reason): "the body for \(address) failed: \(reason)"
        case .cancelled(let address): "the request to \(address) was given up"
        }
    }
}
