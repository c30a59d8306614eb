import HTTPServer
import NIOCore

/// The answer of a volume server to a request that the master passed on.
struct UpstreamAnswer: Sendable {
    var status: Int
    var body: [UInt8]
}

/// Why a volume server's answer cannot be used.
enum UpstreamError: Error, Sendable, Hashable, CustomStringConvertible {
    case connect(String, reason: String)
    case closed(String)
    case timedOut(String)
    case malformed(String, reason: String)
    case tooLarge(String, limit: Int)

    var description: String {
        switch self {
        case .connect(let address, let reason):
            "volume server \(address) cannot be reached: \(reason)"
        case .closed(let address):
            "volume server \(address) closed the connection before it answered"
        case .timedOut(let address): "volume server \(address) did not answer in time"
        case .malformed(let address, let reason):
            "volume server \(address) sent an answer that is not HTTP: \(reason)"
        case .tooLarge(let address, let limit):
            "volume server \(address) sent an answer of more than \(limit) bytes"
        }
    }
}

/// Takes an HTTP/1.1 answer apart as it arrives.
///
/// Total: any bytes give an answer, a wish for more, or an error.
struct UpstreamResponse {
    /// Bytes of head and of body.
    static let limit = 64 << 10

    private enum Framing {
        case head
        case length(Int)
        case chunked(ChunkedDecoder)
        case untilClose
    }

    private let address: String
    private var buffer = ByteBuffer()
    private var framing = Framing.head
    private var status = 0
    private var body: [UInt8] = []

    init(address: String) { self.address = address }

    /// Takes bytes; returns the answer once it is whole.
    mutating func feed(_ bytes: ByteBuffer) throws(UpstreamError) -> UpstreamAnswer? {
        var bytes = bytes
        buffer.writeBuffer(&bytes)
        if case .head = framing {
            guard try readHead() else {
                if buffer.readableBytes > UpstreamResponse.limit { throw tooLarge }
                return nil
            }
        }
        return try readBody()
    }

    /// The connection is closed; an answer without a length ends here.
    func finish() throws(UpstreamError) -> UpstreamAnswer {
        guard case .untilClose = framing else { throw .closed(address) }
        return UpstreamAnswer(status: status, body: body)
    }

    private var tooLarge: UpstreamError { .tooLarge(address, limit: UpstreamResponse.limit) }

    /// Reads heads up to the final one; interim answers are skipped.
    private mutating func readHead() throws(UpstreamError) -> Bool {
        while let end = headEnd() {
            guard let head = buffer.readString(length: end), head.utf8.count == end else {
                return false
            }
            buffer.moveReaderIndex(forwardBy: 4)
            var lines = head.split(separator: "\r\n")[...]
            let parts = (lines.popFirst() ?? "").split(separator: " ", maxSplits: 2)
            guard parts.count >= 2, parts[0].hasPrefix("HTTP/1."), let code = Int(parts[1]),
                (100...599).contains(code)
            else { throw .malformed(address, reason: "no status line") }
            if code < 200 { continue }
            status = code
            try readFraming(lines)
            return true
        }
        return false
    }

    private mutating func readFraming(_ lines: ArraySlice<Substring>) throws(UpstreamError) {
        framing = status == 204 || status == 304 ? .length(0) : .untilClose
        for line in lines {
            guard let colon = line.firstIndex(of: ":") else { continue }
            let name = line[..<colon].lowercased()
            let value = line[line.index(after: colon)...].filter { $0 != " " && $0 != "\t" }
            if name == "transfer-encoding", value.lowercased() == "chunked" {
                framing = .chunked(ChunkedDecoder())
                return
            }
            if name == "content-length", case .untilClose = framing {
                guard let length = Int(value), length >= 0 else {
                    throw .malformed(address, reason: "content length \"\(value)\"")
                }
                if length > UpstreamResponse.limit { throw tooLarge }
                framing = .length(length)
            }
        }
    }

    private func headEnd() -> Int? {
        let view = buffer.readableBytesView
        var position = view.startIndex
        while position + 3 < view.endIndex {
            if view[position] == 13, view[position + 1] == 10, view[position + 2] == 13,
                view[position + 3] == 10
            {
                return position - view.startIndex
            }
            position += 1
        }
        return nil
    }

    private mutating func readBody() throws(UpstreamError) -> UpstreamAnswer? {
        switch framing {
        case .head: return nil
        case .length(let length):
            guard let bytes = buffer.readBytes(length: length) else { return nil }
            return UpstreamAnswer(status: status, body: bytes)
        case .untilClose:
            try take(buffer)
            buffer.clear()
            return nil
        case .chunked(var decoder):
            defer { framing = .chunked(decoder) }
            while true {
                switch decoder.next(&buffer) {
                case .incomplete: return nil
                case .piece(let piece): try take(piece)
                case .end: return UpstreamAnswer(status: status, body: body)
                case .failure(let reason): throw .malformed(address, reason: reason)
                }
            }
        }
    }

    private mutating func take(_ bytes: ByteBuffer) throws(UpstreamError) {
        guard body.count + bytes.readableBytes <= UpstreamResponse.limit else { throw tooLarge }
        body += bytes.readableBytesView
    }
}
