import Glibc

/// What can go wrong between a test and a server.
public enum HTTPClientError: Error, Equatable, CustomStringConvertible {
    /// A socket call failed.
    case socket(call: String, code: Int32)
    /// Nothing arrived, or nothing could be sent, within the time limit.
    case timedOut(String)
    /// The peer closed before the answer was complete.
    case closed(afterBytes: Int)
    /// The answer is not HTTP/1.1.
    case malformed(String)

    /// One sentence naming the call or the bytes at fault.
    public var description: String {
        switch self {
        case .socket(let call, let code): "\(call) failed with errno \(code)"
        case .timedOut(let what): "timed out: \(what)"
        case .closed(let count): "the server closed after \(count) bytes of an answer"
        case .malformed(let what): "not an HTTP answer: \(what)"
        }
    }
}

/// One TCP connection to 127.0.0.1 with full control over the bytes sent.
///
/// Blocking; one thread.
public final class HTTPConnection {
    /// An answer larger than this is refused.
    public static let largestAnswerBytes = 1 << 31

    private var descriptor: Int32
    private var buffered: [UInt8] = []
    private var position = 0

    /// Connects.
    ///
    /// - Parameters:
    ///   - port: A TCP port of 127.0.0.1.
    ///   - timeoutSeconds: The longest wait of one send or receive.
    public init(port: Int, timeoutSeconds: Int = 20) throws(HTTPClientError) {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw .socket(call: "socket", code: errno) }
        var limit = timeval(tv_sec: timeoutSeconds, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            _ = unsafe setsockopt(descriptor, SOL_SOCKET, option, &limit, size)
        }
        var on: Int32 = 1
        _ = unsafe setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, 4)
        var address = SocketAddress.loopback(port: port)
        let result = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else {
            let code = errno
            _ = Glibc.close(descriptor)
            descriptor = -1
            throw .socket(call: "connect to port \(port)", code: code)
        }
    }

    deinit { close() }

    /// Sends all bytes, however long that takes within the time limit.
    public func send(_ bytes: [UInt8]) throws(HTTPClientError) {
        var sent = 0
        while sent < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { raw in
                unsafe Glibc.send(
                    descriptor, raw.baseAddress?.advanced(by: sent), raw.count - sent,
                    Int32(MSG_NOSIGNAL))
            }
            if count < 0 {
                if errno == EINTR { continue }
                if errno == EAGAIN { throw .timedOut("sending, \(sent) of \(bytes.count) sent") }
                throw .socket(call: "send", code: errno)
            }
            sent += count
        }
    }

    /// Sends text as UTF-8.
    public func send(_ text: String) throws(HTTPClientError) { try send(Array(text.utf8)) }

    /// Tells the server that nothing more will come; answers can still be read.
    public func finishSending() { _ = shutdown(descriptor, Int32(SHUT_WR)) }

    /// Closes; harmless when repeated.
    public func close() {
        if descriptor >= 0 { _ = Glibc.close(descriptor) }
        descriptor = -1
    }

    /// Everything the server sends until it closes.
    public func readUntilClosed() throws(HTTPClientError) -> [UInt8] {
        while try fill() {}
        defer { position = buffered.count }
        return Array(buffered[position...])
    }

    /// The next line without its line break.
    func readLine() throws(HTTPClientError) -> String {
        var scanned = 0
        while true {
            if let end = buffered[(position + scanned)...].firstIndex(of: 0x0a) {
                let line = buffered[position..<end]
                position = end + 1
                let text = String(decoding: line, as: UTF8.self)
                return text.hasSuffix("\r") ? String(text.dropLast()) : text
            }
            scanned = buffered.count - position
            if try !fill() { throw .closed(afterBytes: buffered.count - position) }
        }
    }

    /// Exactly this many bytes.
    func readBytes(_ count: Int) throws(HTTPClientError) -> [UInt8] {
        guard count <= Self.largestAnswerBytes else { throw .malformed("\(count) bytes of body") }
        while buffered.count - position < count {
            if try !fill() { throw .closed(afterBytes: buffered.count - position) }
        }
        defer { position += count }
        return Array(buffered[position..<position + count])
    }

    /// Receives once; false at the end of the stream.
    private func fill() throws(HTTPClientError) -> Bool {
        if position == buffered.count {
            buffered.removeAll(keepingCapacity: true)
            position = 0
        }
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = unsafe chunk.withUnsafeMutableBytes { raw in
                unsafe recv(descriptor, raw.baseAddress, raw.count, 0)
            }
            if count > 0 {
                buffered.append(contentsOf: chunk[..<count])
                return true
            }
            if count == 0 { return false }
            if errno == EINTR { continue }
            if errno == EAGAIN { throw .timedOut("receiving") }
            throw .socket(call: "recv", code: errno)
        }
    }
}

/// Socket addresses of this machine.
enum SocketAddress {
    /// 127.0.0.1 at a port.
    static func loopback(port: Int) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(truncatingIfNeeded: port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        return address
    }
}
