import Glibc
public import NIOCore

/// Takes a `multipart/form-data` body apart while it arrives, without copying the data of its
/// parts.
///
/// Feed pieces of any size and pull events until there are none:
///
/// ```swift
/// var parser = MultipartParser(boundary: "xyz")
/// parser.feed(piece)
/// while let event = try parser.next() { … }
/// try parser.finish()
/// ```
///
/// Lines may end in LF alone if the first boundary line does; text before the first boundary and
/// after the last is skipped.
public struct MultipartParser: Sendable {
    /// What was found.
    public enum Event: Sendable, Equatable {
        /// A part begins.
        case part(MultipartHeaders)
        /// Bytes of the part.
        case data(ByteBuffer)
        /// The part is complete.
        case partEnd
        /// The closing boundary was seen; what follows is ignored.
        case end
    }

    /// Bytes of text before the first boundary.
    public static let preambleLimit = 64 << 10
    /// Bytes of one part's header lines.
    public static let headersLimit = 16 << 10
    /// Bytes of a boundary, and of what follows it on its line.
    public static let boundaryLimit = 256

    private enum State {
        case preamble, headers, bodyStart, body, delimiter, boundaryLine, closing, epilogue
    }

    private let dashBoundary: [UInt8]
    private var delimiter: [UInt8]
    private var input = ByteBuffer()
    private var state = State.preamble
    private var preambleBytes = 0
    /// How much of `input` was looked through in vain.
    private var scanned = 0
    private var parts = 0

    /// A parser for a boundary as the content type gives it, without the leading dashes.
    public init(boundary: String) {
        dashBoundary = Array("--\(boundary)".utf8)
        delimiter = Array("\r\n--\(boundary)".utf8)
    }

    /// Adds the next piece of the body.
    public mutating func feed(_ piece: ByteBuffer) {
        if input.readableBytes == 0 {
            input = piece
        } else {
            var piece = piece
            input.writeBuffer(&piece)
        }
    }

    /// The next event; `nil` when more input is needed.
    public mutating func next() throws(MultipartError) -> Event? {
        while true {
            switch state {
            case .preamble:
                guard try skipPreambleLine() else { return nil }
            case .headers:
                guard let headers = try takeHeaders() else { return nil }
                parts += 1
                state = .bodyStart
                return .part(headers)
            case .bodyStart:
                guard let isEmpty = startsWithBoundary() else { return nil }
                state = isEmpty ? .delimiter : .body
            case .body:
                guard let data = takeData() else { return nil }
                if data.readableBytes > 0 { return .data(data) }
            case .delimiter:
                state = .boundaryLine
                return .partEnd
            case .boundaryLine:
                guard try takeBoundaryLine() else { return nil }
            case .closing:
                state = .epilogue
                return .end
            case .epilogue:
                input = ByteBuffer()
                return nil
            }
        }
    }

    /// Forgets the input not yet looked at, for callers that have found what they want.
    public mutating func drop() {
        input = ByteBuffer()
        state = .epilogue
    }

    /// To be called when the body is complete and `next` has returned `nil`.
    public func finish() throws(MultipartError) {
        switch state {
        case .preamble:
            let rest = input.readableBytesView
            let isClosing =
                rest.starts(with: dashBoundary)
                && rest.dropFirst(dashBoundary.count).starts(with: [0x2d, 0x2d])
            throw isClosing ? .noParts : .nextPart
        case .headers, .boundaryLine: throw .nextPart
        case .bodyStart, .body, .delimiter: throw .unexpectedEnd
        case .closing, .epilogue: if parts == 0 { throw .noParts }
        }
    }
}

extension MultipartParser {
    /// Skips one line before the first boundary, or takes the boundary's.
    ///
    /// `false`: more input needed.
    private mutating func skipPreambleLine() throws(MultipartError) -> Bool {
        guard let line = takeLine(limit: MultipartParser.preambleLimit) else {
            guard input.readableBytes <= MultipartParser.preambleLimit else { throw .nextPart }
            return false
        }
        preambleBytes += line.readableBytes
        guard preambleBytes <= MultipartParser.preambleLimit else { throw .nextPart }
        let view = line.readableBytesView
        guard view.starts(with: dashBoundary) else { return true }
        let rest = view.dropFirst(dashBoundary.count)
        if rest.starts(with: [0x2d, 0x2d]) {
            state = .closing
        } else if MultipartParser.isBlank(rest) {
            if rest.elementsEqual([0x0a]) { delimiter.removeFirst() }
            state = .headers
        }
        return true
    }

    /// Takes the header lines with the empty line after them.
    private mutating func takeHeaders() throws(MultipartError) -> MultipartHeaders? {
        let view = input.readableBytesView
        var lineStart = scanned
        while let end = view.dropFirst(lineStart).firstIndex(of: 0x0a) {
            let line = view[(view.startIndex + lineStart)..<end]
            lineStart = end - view.startIndex + 1
            guard lineStart <= MultipartParser.headersLimit else { throw .headersTooLong }
            guard line.isEmpty || line.elementsEqual([0x0d]) else {
                scanned = lineStart
                continue
            }
            scanned = 0
            guard let block = input.readSlice(length: lineStart) else { return nil }
            return MultipartHeaders(block: block.readableBytesView)
        }
        guard view.count <= MultipartParser.headersLimit else { throw .headersTooLong }
        return nil
    }

    /// Whether the part is empty because the boundary follows at once; `nil`: more input needed.
    private func startsWithBoundary() -> Bool? {
        let view = input.readableBytesView
        let shared = min(view.count, dashBoundary.count)
        guard view.prefix(shared).elementsEqual(dashBoundary.prefix(shared)) else { return false }
        guard shared == dashBoundary.count else { return nil }
        return MultipartParser.isBoundaryEnd(view.dropFirst(shared))
    }

    /// The data up to the delimiter, or what certainly comes before it; empty when the delimiter
    /// was next.
    ///
    /// `nil`: more input needed.
    private mutating func takeData() -> ByteBuffer? {
        var from = 0
        while let found = find(delimiter, from: from) {
            let rest = input.readableBytesView.dropFirst(found + delimiter.count)
            guard let isEnd = MultipartParser.isBoundaryEnd(rest) else {
                return found > 0 ? input.readSlice(length: found) : nil
            }
            if isEnd {
                state = .delimiter
                let data = input.readSlice(length: found)
                input.moveReaderIndex(forwardBy: delimiter.count - dashBoundary.count)
                return data
            }
            from = found + 1
        }
        let certain = input.readableBytes - partialDelimiterLength()
        return certain > 0 ? input.readSlice(length: certain) : nil
    }

    /// Takes the rest of the line of a boundary that ended a part.
    ///
    /// `false`: more input needed.
    private mutating func takeBoundaryLine() throws(MultipartError) -> Bool {
        let rest = input.readableBytesView.dropFirst(dashBoundary.count)
        if rest.starts(with: [0x2d, 0x2d]) {
            state = .closing
            return true
        }
        let limit = dashBoundary.count + MultipartParser.boundaryLimit
        guard let line = takeLine(limit: limit) else {
            guard input.readableBytes <= limit else { throw .boundaryLine }
            return false
        }
        guard MultipartParser.isBlank(line.readableBytesView.dropFirst(dashBoundary.count)) else {
            throw .boundaryLine
        }
        state = .headers
        return true
    }

    /// The next line with its line feed.
    private mutating func takeLine(limit: Int) -> ByteBuffer? {
        let view = input.readableBytesView
        guard let end = view.dropFirst(scanned).firstIndex(of: 0x0a) else {
            scanned = view.count
            return nil
        }
        scanned = 0
        return input.readSlice(length: end - view.startIndex + 1)
    }

    /// Where `pattern` starts in the input, counted from its reader index.
    private func find(_ pattern: [UInt8], from: Int) -> Int? {
        unsafe input.withUnsafeReadableBytes { bytes -> Int? in
            guard let base = bytes.baseAddress else { return nil }
            return unsafe pattern.withUnsafeBytes { pattern -> Int? in
                guard let wanted = pattern.baseAddress else { return nil }
                let first = unsafe CInt(pattern[0])
                var at = from
                // The first byte is a line end, rare enough to look for it alone.
                while at + pattern.count <= bytes.count {
                    let room = bytes.count - pattern.count + 1 - at
                    guard let hit = unsafe memchr(base + at, first, room) else { return nil }
                    at = unsafe UnsafeRawPointer(hit) - base
                    if unsafe memcmp(base + at, wanted, pattern.count) == 0 { return at }
                    at += 1
                }
                return nil
            }
        }
    }

    /// How many bytes at the end may be the beginning of the delimiter.
    private func partialDelimiterLength() -> Int {
        let view = input.readableBytesView
        var length = min(delimiter.count - 1, view.count)
        while length > 0 {
            if view.suffix(length).elementsEqual(delimiter.prefix(length)) { return length }
            length -= 1
        }
        return 0
    }

    /// Whether what follows a boundary lets it be one; `nil`: too little is known.
    private static func isBoundaryEnd(_ rest: ByteBufferView.SubSequence) -> Bool? {
        guard let first = rest.first else { return nil }
        switch first {
        case 0x20, 0x09, 0x0d, 0x0a: return true
        case 0x2d:
            guard let second = rest.dropFirst().first else { return nil }
            return second == 0x2d
        default: return false
        }
    }

    /// Whether a line holds nothing but blanks and its end.
    private static func isBlank(_ line: ByteBufferView.SubSequence) -> Bool {
        line.allSatisfy { $0 == 0x20 || $0 == 0x09 || $0 == 0x0d || $0 == 0x0a }
    }
}

/// Why a body is no multipart body; the texts are those clients know.
public enum MultipartError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The body ended where a part should begin.
    case nextPart
    /// There is no part at all.
    case noParts
    /// The body ended inside a part.
    case unexpectedEnd
    /// The header lines of a part are longer than ``MultipartParser/headersLimit``.
    case headersTooLong
    /// Something other than blanks follows a boundary.
    case boundaryLine
    /// The content type is not `multipart/form-data`.
    case notMultipart
    /// The content type names no boundary, or an unusable one.
    case noBoundary
    /// The query's `ttl` is none.
    case timeToLive(String)

    /// The message.
    public var description: String {
        switch self {
        case .nextPart: "multipart: NextPart: EOF"
        case .noParts: "EOF"
        case .unexpectedEnd: "unexpected EOF"
        case .headersTooLong:
            "multipart: headers of a part are longer than \(MultipartParser.headersLimit) bytes"
        case .boundaryLine: "multipart: expecting a new Part after the boundary"
        case .timeToLive(let text):
            "ttl \"\(text.prefix(16))\" is no time to live: a number from 1 to 255 and m, h, d, w, M or y"
        case .notMultipart: "request Content-Type isn't multipart/form-data"
        case .noBoundary: "no multipart boundary param in Content-Type"
        }
    }
}
