import Glibc
import HTTPServer
import Logging
import NIOCore
import NIOPosix
import Synchronization
import Testing

/// Handles requests with a closure.
struct Closure: RequestHandler {
    let body: @Sendable (HTTPRequest, Exchange) -> Void
    func handle(_ request: HTTPRequest, _ exchange: Exchange) { body(request, exchange) }
}

/// Logs nothing.
let silent = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// The event loops all tests share.
enum NIOGroup {
    static var shared: MultiThreadedEventLoopGroup { .singleton }
}

/// Runs `body` with the port of a server that answers with `handler`.
func withServer(
    limits: Limits = Limits(), host: String = "127.0.0.1",
    handler: @escaping @Sendable (HTTPRequest, Exchange) -> Void,
    _ body: (HTTPServer) async throws -> Void
) async throws {
    let server = try await HTTPServer.start(
        host: host, port: 0, group: NIOGroup.shared, limits: limits,
        logger: silent, handler: Closure(body: handler))
    do {
        try await body(server)
    } catch {
        await server.shutdown(grace: .zero)
        throw error
    }
    await server.shutdown(grace: .zero)
}

/// What a handler's callbacks saw, for the test to look at.
final class Recorder<Value: Sendable>: Sendable {
    private let values = Mutex<[Value]>([])
    func add(_ value: Value) { values.withLock { $0.append(value) } }
    var all: [Value] { values.withLock { $0 } }

    /// Waits until there are `count` values; fails the test after twenty seconds.
    func wait(for count: Int) async throws -> [Value] {
        let deadline = ContinuousClock.now + .seconds(20)
        while all.count < count, ContinuousClock.now < deadline {
            try await Task.sleep(for: .milliseconds(2))
        }
        try #require(
            all.count >= count, "only \(all.count) of \(count) values after twenty seconds")
        return all
    }
}

/// Waits until `condition` holds; false after twenty seconds.
func eventually(_ condition: () -> Bool) async throws -> Bool {
    let deadline = ContinuousClock.now + .seconds(20)
    while !condition() {
        if ContinuousClock.now > deadline { return false }
        try await Task.sleep(for: .milliseconds(2))
    }
    return true
}

struct ClientError: Error, CustomStringConvertible { let description: String }

/// An answer as a client sees it.
struct Answer {
    var status: Int
    var head: String
    var headers: [String: String]
    var body: [UInt8]
    var text: String { String(decoding: body, as: UTF8.self) }
}

/// A blocking client that sends exactly the bytes it is told to.
///
/// Waits at most twenty seconds for anything.
final class Client {
    private var descriptor: CInt
    private var buffered: [UInt8] = []

    init(port: Int, receiveBuffer: CInt? = nil) throws {
        descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { throw ClientError(description: "socket: errno \(errno)") }
        set(SO_RCVTIMEO, timeval(tv_sec: 20, tv_usec: 0))
        set(SO_SNDTIMEO, timeval(tv_sec: 20, tv_usec: 0))
        if let receiveBuffer { set(SO_RCVBUF, receiveBuffer) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let result = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else { throw ClientError(description: "connect: errno \(errno)") }
    }

    deinit { close() }

    private func set<Value: BitwiseCopyable>(_ option: CInt, _ value: Value) {
        var value = value
        _ = unsafe setsockopt(
            descriptor, SOL_SOCKET, option, &value, socklen_t(MemoryLayout<Value>.size))
    }

    func close() {
        if descriptor >= 0 { _ = Glibc.close(descriptor) }
        descriptor = -1
    }

    /// Closes so that the server gets a reset.
    func reset() {
        set(SO_LINGER, linger(l_onoff: 1, l_linger: 0))
        close()
    }

    func shutdownWrite() { _ = Glibc.shutdown(descriptor, CInt(SHUT_WR)) }

    func send(_ text: String) throws { try send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) throws {
        guard trySend(bytes) == bytes.count else {
            throw ClientError(description: "send: errno \(errno)")
        }
    }

    /// Sends as much as the server takes; returns how much.
    func trySend(_ bytes: [UInt8]) -> Int {
        var sent = 0
        while sent < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { buffer in
                unsafe Glibc.send(
                    descriptor, buffer.baseAddress?.advanced(by: sent), buffer.count - sent,
                    CInt(MSG_NOSIGNAL))
            }
            guard count > 0 else { return sent }
            sent += count
        }
        return sent
    }

    /// Receives some bytes; `nil` at the end, whether clean or by a reset.
    func receive() throws -> [UInt8]? {
        if !buffered.isEmpty {
            defer { buffered = [] }
            return buffered
        }
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        let count = unsafe chunk.withUnsafeMutableBytes { buffer in
            unsafe recv(descriptor, buffer.baseAddress, buffer.count, 0)
        }
        if count > 0 { return Array(chunk[..<count]) }
        if count == 0 || errno == ECONNRESET { return nil }
        throw ClientError(description: "nothing received for twenty seconds")
    }

    /// Receives until the server closes.
    func readToEnd() throws -> [UInt8] {
        var all: [UInt8] = []
        while let chunk = try receive() { all += chunk }
        return all
    }

    func readText() throws -> String { String(decoding: try readToEnd(), as: UTF8.self) }

    /// Whether the server has closed by now; does not wait.
    var hasEnded: Bool {
        var byte: UInt8 = 0
        return unsafe recv(descriptor, &byte, 1, CInt(MSG_PEEK | MSG_DONTWAIT))
            == 0
    }

    /// Whether the server has closed the connection and sent nothing more.
    func isClosedByServer() throws -> Bool { try readToEnd().isEmpty }

    /// Reads one answer; `nil` when the connection ends before one.
    func readAnswer(toHead: Bool = false) throws -> Answer? {
        guard let lines = try readHead() else { return nil }
        let status = Int(lines[0].split(separator: " ")[1]) ?? 0
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1)
            headers[parts[0].lowercased()] = parts.count > 1 ? String(parts[1].dropFirst()) : ""
        }
        var answer = Answer(
            status: status, head: lines.joined(separator: "\n"), headers: headers, body: [])
        guard !toHead, status >= 200, status != 204, status != 304 else { return answer }
        if let length = headers["content-length"].flatMap({ Int($0) }) {
            answer.body = try readBytes(length)
        } else if headers["transfer-encoding"] == "chunked" {
            while true {
                let size = Int(try readLine(), radix: 16) ?? -1
                guard size >= 0 else { throw ClientError(description: "chunk size") }
                answer.body += try readBytes(size)
                guard try readLine().isEmpty else { throw ClientError(description: "chunk end") }
                if size == 0 { break }
            }
        } else {
            answer.body = try readToEnd()
        }
        return answer
    }

    /// Sends a request and reads its answer.
    func ask(_ request: String, toHead: Bool = false) throws -> Answer {
        try send(request)
        guard let answer = try readAnswer(toHead: toHead) else {
            throw ClientError(description: "closed without an answer")
        }
        return answer
    }

    private func readHead() throws -> [String]? {
        var lines: [String] = []
        while true {
            guard let line = try nextLine() else {
                guard lines.isEmpty else { throw ClientError(description: "head cut off") }
                return nil
            }
            if line.isEmpty { return lines }
            lines.append(line)
        }
    }

    private func readLine() throws -> String {
        guard let line = try nextLine() else { throw ClientError(description: "line cut off") }
        return line
    }

    private func nextLine() throws -> String? {
        var line: [UInt8] = []
        while true {
            if let end = buffered.firstIndex(of: 0x0a) {
                line += buffered[..<end]
                buffered.removeFirst(end + 1)
                guard line.last == 0x0d else { throw ClientError(description: "bare LF") }
                return String(decoding: line.dropLast(), as: UTF8.self)
            }
            line += buffered
            buffered = []
            guard let more = try receive() else {
                guard line.isEmpty else { throw ClientError(description: "line cut off") }
                return nil
            }
            buffered = more
        }
    }

    private func readBytes(_ count: Int) throws -> [UInt8] {
        guard count > 0 else { return [] }
        var bytes: [UInt8] = []
        while bytes.count < count {
            guard let more = try receive() else {
                throw ClientError(description: "body cut off at \(bytes.count) of \(count)")
            }
            bytes += more
        }
        buffered = Array(bytes[count...])
        return Array(bytes[..<count])
    }
}

/// Splitmix64, so that a printed seed repeats a run.
struct Seeded: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}

/// A seed for this run, printed.
func newSeed(_ what: String) -> UInt64 {
    let seed = UInt64.random(in: 0 ... .max)
    print("\(what): seed \(seed)")
    return seed
}
