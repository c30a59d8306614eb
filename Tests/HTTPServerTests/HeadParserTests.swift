import HTTPServer
import NIOCore
import Testing

/// What a head gave, in a form that can be compared.
struct Parsed: Equatable, CustomStringConvertible {
    var method = ""
    var path = ""
    var query = ""
    var headers: [String] = []
    var length: UInt64?
    var flags = ""
    var consumed = 0
    var error: HeadError?

    init(_ result: HeadResult) {
        switch result {
        case .incomplete:
            flags = "incomplete"
        case .failure(let error):
            self.error = error
        case .head(let request, let length):
            method = request.method.description
            path = request.path
            query = request.rawQuery
            headers = request.headers.map { "\($0.name)=\($0.value)" }
            self.length = request.contentLength
            flags += request.isChunked ? "c" : ""
            flags += request.keepAlive ? "k" : ""
            flags += request.isHTTP10 ? "0" : ""
            flags += request.expectsContinue ? "e" : ""
            consumed = length
        }
    }

    var description: String {
        error.map { "\($0)" } ?? "\(method) \(path)?\(query) \(headers) \(flags) \(consumed)"
    }
}

let validHeads = [
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /3,01637037d6 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: x\r\nAccept: */*\r\n\r\n",
    "POST /x?a=b&c=d HTTP/1.1\r\nhost:a\r\nContent-Length: 12\r\n\r\n",
    "PUT http://h:80/p/q?x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n",
    "\r\n\r\nDELETE /%2C HTTP/1.0\r\nConnection: Keep-Alive, x\r\nCookie: AT=tok\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n"
        + "Connection: x , close\r\nX-Long: \(String(repeating: "v", count: 100))\r\n\r\n",
]

@Suite struct HeadParserTests {
    private func parse(_ text: String, limit: Int = 64 << 10) -> Parsed {
        Parsed(HTTPHeadParser.parse(ByteBuffer(string: text), limit: limit))
    }

    @Test func readsARequest() throws {
        let text =
            "POST /a%20b?x=1+2&y HTTP/1.1\r\nHost: h\r\nX-A:  one two\t\r\nx-a: other\r\n"
            + "Content-Length: 5\r\n\r\nhello"
        guard case .head(let request, let length) = HTTPHeadParser.parse(ByteBuffer(string: text))
        else { throw ClientError(description: "no head") }
        #expect(length == text.utf8.count - 5)
        #expect(request.method == .post)
        #expect(request.path == "/a%20b")
        #expect(request.decodedPath == "/a b")
        #expect(request.withPath { $0.count } == 6)
        #expect(request.rawQuery == "x=1+2&y" && request.hasQuery)
        #expect(request.query["x"] == "1 2" && request.query["y"] == "")
        #expect(request.header("x-a") == "one two")
        #expect(request.header("x-b") == nil && !request.hasHeader("x-b"))
        #expect(request.headers.map(\.name) == ["Host", "X-A", "x-a", "Content-Length"])
        #expect(request.contentLength == 5 && request.hasBody && !request.isChunked)
        #expect(request.keepAlive && !request.isHTTP10 && !request.expectsContinue)
    }

    @Test(arguments: [
        ("GET", HTTPMethod.get), ("HEAD", .head), ("POST", .post), ("PUT", .put),
        ("DELETE", .delete), ("OPTIONS", .options), ("PATCH", .other("PATCH")),
        ("get", .other("get")), ("M!#$%&'*+-.^_`|~9", .other("M!#$%&'*+-.^_`|~9")),
    ])
    func methods(_ name: String, _ method: HTTPMethod) throws {
        let parsed = HTTPHeadParser.parse(
            ByteBuffer(string: "\(name) / HTTP/1.1\r\nHost: a\r\n\r\n"))
        guard case .head(let request, _) = parsed else {
            throw ClientError(description: "no head")
        }
        #expect(request.method == method)
    }

    @Test(arguments: [
        ("/p?q", "/p", "q"), ("/", "/", ""), ("/?", "/", ""), ("//a", "//a", ""),
        ("http://host/p?q?r", "/p", "q?r"), ("http://host", "/", ""), ("http://h?q", "/", "q"),
        ("*", "*", ""), ("host:80", "host:80", ""), ("/é", "/é", ""), ("?", "", ""),
        ("/a://b/c", "/a://b/c", ""),
    ])
    func targets(_ target: String, _ path: String, _ query: String) {
        let parsed = parse("GET \(target) HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(parsed.error == nil)
        #expect(parsed.path == path)
        #expect(parsed.query == query)
    }

    @Test(arguments: [
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", HeadError.malformed(.lineEnd)),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", .malformed(.lineEnd)),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", .malformed(.headerName)),
        ("GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", .malformed(.lineEnd)),
        ("GET / HTTP/1.1\r\nHost: a\r\n\rX", .malformed(.lineEnd)),
        ("\rGET / HTTP/1.1\r\n", .malformed(.lineEnd)),
        ("\nGET / HTTP/1.1\r\n", .malformed(.requestLine)),
        ("GET /\r\n\r\n", .malformed(.target)),
        ("GET\r\n\r\n", .malformed(.requestLine)),
        ("GET  / HTTP/1.1\r\n", .malformed(.target)),
        ("GET /a b HTTP/1.1\r\n", .malformed(.requestLine)),
        ("GET / HTTP/1.1 \r\n", .malformed(.lineEnd)),
        ("GET / http/1.1\r\n", .malformed(.requestLine)),
        ("GET / HTTP/1,1\r\n", .malformed(.requestLine)),
        ("GET / HTTP/11\r\n\r\n", .malformed(.requestLine)),
        ("GET /\u{0} HTTP/1.1\r\n", .malformed(.target)),
        ("GET /\u{7f} HTTP/1.1\r\n", .malformed(.target)),
        ("G@T / HTTP/1.1\r\n", .malformed(.requestLine)),
        (" GET / HTTP/1.1\r\n", .malformed(.requestLine)),
        ("\u{16}\u{3}\u{1} / HTTP/1.1\r\n", .malformed(.requestLine)),
        ("AVERYLONGMETHODNAMETHATNOBODYUSESX / HTTP/1.1\r\n", .malformed(.requestLine)),
        ("GET / HTTP/2.0\r\n\r\n", .unsupportedVersion),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", .unsupportedVersion),
        ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", .malformed(.folding)),
        ("GET / HTTP/1.1\r\n\tHost: a\r\n\r\n", .malformed(.folding)),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", .malformed(.headerName)),
        ("GET / HTTP/1.1\r\n: a\r\n\r\n", .malformed(.headerName)),
        ("GET / HTTP/1.1\r\nHost\r\n\r\n", .malformed(.headerName)),
        ("GET / HTTP/1.1\r\nHo\u{0}st: a\r\n\r\n", .malformed(.headerName)),
        ("GET / HTTP/1.1\r\nHöst: a\r\n\r\n", .malformed(.headerName)),
        ("GET / HTTP/1.1\r\nX: long enough \u{0} value\r\n\r\n", .malformed(.headerValue)),
        ("GET / HTTP/1.1\r\nX: \u{1}\r\n\r\n", .malformed(.headerValue)),
        ("GET / HTTP/1.1\r\nX: abcdefghijk\u{7f}\r\n\r\n", .malformed(.headerValue)),
        ("GET / HTTP/1.1\r\nX: \u{b}chunked\r\n\r\n", .malformed(.headerValue)),
        ("GET / HTTP/1.1\r\n\r\n", .malformed(.host)),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", .malformed(.host)),
        ("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", .malformed(.host)),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", .unsupportedExpectation),
    ])
    func refuses(_ text: String, _ error: HeadError) {
        #expect(parse(text).error == error)
    }

    @Test(arguments: [
        ("Content-Length: 5\r\nContent-Length: 5", HeadError.malformed(.contentLengthTwice)),
        ("Content-Length: 5\r\ncontent-length: 6", .malformed(.contentLengthTwice)),
        ("Content-Length: 5, 5", .malformed(.contentLength)),
        ("Content-Length: -1", .malformed(.contentLength)),
        ("Content-Length: +1", .malformed(.contentLength)),
        ("Content-Length: 0x10", .malformed(.contentLength)),
        ("Content-Length: 1 2", .malformed(.contentLength)),
        ("Content-Length: ", .malformed(.contentLength)),
        ("Content-Length: ٣", .malformed(.contentLength)),
        ("Content-Length: 9223372036854775808", .malformed(.contentLength)),
        ("Content-Length: 99999999999999999999999", .malformed(.contentLength)),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", .malformed(.lengthAndChunks)),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", .malformed(.lengthAndChunks)),
        ("Transfer-Encoding: gzip", .unsupportedTransferCoding),
        ("Transfer-Encoding: gzip, chunked", .unsupportedTransferCoding),
        ("Transfer-Encoding: chunked, chunked", .unsupportedTransferCoding),
        ("Transfer-Encoding: identity", .unsupportedTransferCoding),
        ("Transfer-Encoding: xchunked", .unsupportedTransferCoding),
        ("Transfer-Encoding: \"chunked\"", .unsupportedTransferCoding),
        ("Transfer-Encoding:", .unsupportedTransferCoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", .unsupportedTransferCoding),
        ("Transfer-Encoding : chunked", .malformed(.headerName)),
        ("Transfer-Encoding\u{b}: chunked", .malformed(.headerName)),
    ])
    func refusesSmuggling(_ lines: String, _ error: HeadError) {
        #expect(parse("POST / HTTP/1.1\r\nHost: a\r\n\(lines)\r\n\r\n").error == error)
    }

    @Test func refusesChunksInHTTP10() {
        let parsed = parse("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n")
        #expect(parsed.error == .malformed(.chunksInHTTP10))
    }

    @Test(arguments: [
        ("1.1", "", "k"), ("1.1", "Connection: close\r\n", ""),
        ("1.1", "Connection: keep-alive\r\n", "k"), ("1.1", "connection: a, CLOSE\r\n", ""),
        ("1.1", "Connection: closed\r\n", "k"), ("1.0", "", "0"),
        ("1.0", "Connection: Keep-Alive\r\n", "k0"),
        ("1.0", "Connection: keep-alive\r\nConnection: close\r\n", "0"),
        ("1.9", "", "k"), ("1.0", "Expect: 100-continue\r\n", "0"),
        ("1.1", "Expect: 100-continue\r\n", "ke"),
    ])
    func persistence(_ version: String, _ lines: String, _ flags: String) {
        #expect(parse("GET / HTTP/\(version)\r\nHost: a\r\n\(lines)\r\n").flags == flags)
    }

    @Test func endsAtTheLimit() {
        let head = "GET / HTTP/1.1\r\nHost: a\r\nX: \(String(repeating: "v", count: 200))\r\n\r\n"
        let size = head.utf8.count
        #expect(parse(head, limit: size).error == nil)
        #expect(parse(head, limit: size - 1).error == .tooLarge)
        #expect(
            parse(String(decoding: head.utf8.dropLast(2), as: UTF8.self), limit: size - 3).error
                == .tooLarge)
        #expect(
            parse(String(decoding: head.utf8.dropLast(2), as: UTF8.self), limit: size).flags
                == "incomplete")
        let many = String(repeating: "a:b\r\n", count: 1_001)
        #expect(parse("GET / HTTP/1.1\r\n\(many)").error == .tooLarge)
        #expect(parse(String(repeating: "\r\n", count: 60), limit: 100).error == .tooLarge)
    }

    @Test(arguments: validHeads)
    func splitAnywhereGivesTheSame(_ head: String) {
        let bytes = Array((head + "next").utf8)
        let whole = Parsed(HTTPHeadParser.parse(ByteBuffer(bytes: bytes)))
        #expect(whole.error == nil && whole.consumed == head.utf8.count)
        for split in 0...bytes.count {
            var parser = HTTPHeadParser()
            var buffer = ByteBuffer(bytes: bytes[..<split])
            let first = Parsed(parser.parse(buffer))
            if first.flags != "incomplete" {
                #expect(first == whole, "split at \(split)")
                continue
            }
            #expect(split < head.utf8.count)
            buffer.writeBytes(bytes[split...])
            #expect(Parsed(parser.parse(buffer)) == whole, "split at \(split)")
        }
    }

    @Test func splitAtRandomGivesTheSame() {
        let seed = newSeed("splitAtRandomGivesTheSame")
        var random = Seeded(seed: seed)
        for round in 0..<2_000 {
            let head = validHeads[round % validHeads.count]
            let whole = parse(head)
            var parser = HTTPHeadParser()
            var buffer = ByteBuffer(string: "ignored")
            buffer.moveReaderIndex(forwardBy: 7)
            var rest = Array(head.utf8)[...]
            var last = Parsed(.incomplete)
            while !rest.isEmpty {
                let count = Int.random(in: 1...min(rest.count, 40), using: &random)
                buffer.writeBytes(rest.prefix(count))
                rest = rest.dropFirst(count)
                last = Parsed(parser.parse(buffer))
                guard last.flags == "incomplete" else { break }
            }
            #expect(last == whole, "seed \(seed), round \(round)")
        }
    }

    @Test func survivesMutatedHeads() {
        let seed = newSeed("survivesMutatedHeads")
        var random = Seeded(seed: seed)
        let spice = Array("\r\n\t :,?%/\u{0}\u{7f}é0AHTTPcontent-length".utf8)
        var counts = [0, 0, 0]
        for round in 0..<200_000 {
            var bytes = Array(validHeads[round % validHeads.count].utf8)
            for _ in 0..<Int.random(in: 0...6, using: &random) where !bytes.isEmpty {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                switch UInt8.random(in: 0...3, using: &random) {
                case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.remove(at: place)
                case 2:
                    bytes.insert(spice[Int.random(in: 0..<spice.count, using: &random)], at: place)
                default: bytes.removeSubrange(place..<min(bytes.count, place + 9))
                }
            }
            switch HTTPHeadParser.parse(ByteBuffer(bytes: bytes)) {
            case .incomplete: counts[0] += 1
            case .head(let request, let length):
                counts[1] += 1
                let isBounded = length <= bytes.count && request.path.utf8.count <= 3 * length
                if !isBounded { Issue.record("seed \(seed), round \(round): out of bounds") }
            case .failure: counts[2] += 1
            }
        }
        #expect(counts.allSatisfy { $0 > 1_000 }, "the mutations no longer reach every outcome")
    }
}
