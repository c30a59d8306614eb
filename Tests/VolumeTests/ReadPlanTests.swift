import HTTPServer
import NIOCore
import Needles
import Testing

@testable import Volume

@Suite("Planning answers to reads")
struct ReadPlanTests {
    private static let hello = Array("hello world".utf8)

    private func plan(
        _ needle: StoredNeedle, _ change: (inout ReadRequest) -> Void = { _ in }
    ) throws -> ReadAnswer {
        var ask = ReadRequest()
        change(&ask)
        return try #require(
            try ReadPlan.answer(for: needle, id: ReadFixture.id, ask, mayBlock: true))
    }

    @Test("a plain read")
    func plain() throws {
        let needle = ReadFixture.needle(
            Self.hello, name: "hello.txt", mime: "text/plain", lastModified: 1_400_000_000)
        let answer = try plan(needle)
        #expect(answer.status == 200)
        #expect(ReadFixture.text(answer.contentType) == "text/plain")
        #expect(answer.checksum == 0xc994_65aa)
        #expect(answer.lastModified == 1_400_000_000)
        #expect(answer.acceptsRanges)
        #expect(ReadFixture.body(answer) == "hello world")
        guard case .named(let name, isAttachment: false) = answer.naming else {
            Issue.record("the name is not told: \(answer.naming)")
            return
        }
        #expect(ReadFixture.text(name) == "hello.txt")
    }

    @Test(
        "where the type comes from",
        arguments: [
            ("hello.html", "text/plain", "", "text/plain"),
            ("hello.html", "application/octet-stream", "", "text/html; charset=utf-8"),
            ("hello.html", nil, "", "text/html; charset=utf-8"),
            ("hello.html", nil, "other.pdf", "application/pdf"),
            ("c.dat", nil, "", "text/plain; charset=utf-8"),
            (nil, nil, "", "text/plain; charset=utf-8"),
            (nil, "application/octet-stream; x=1", "", "text/plain; charset=utf-8"),
            ("hello.html", nil, "other", "text/plain; charset=utf-8"),
        ] as [(String?, String?, String, String)])
    func types(stored: String?, mime: String?, url: String, expected: String) throws {
        let needle = ReadFixture.needle(Self.hello, name: stored, mime: mime)
        #expect(ReadFixture.text(try plan(needle) { $0.name = url }.contentType) == expected)
    }

    @Test("HEAD tells the length and guesses no type")
    func head() throws {
        let answer = try plan(ReadFixture.needle(Self.hello, name: "c.dat")) {
            $0.isHead = true
            $0.range = "bytes=0-4"
        }
        #expect(answer.status == 200)
        #expect(answer.contentType.isNone)
        guard case .omitted(11) = answer.body else {
            Issue.record("not a bodiless answer of 11 bytes: \(answer.body)")
            return
        }
    }

    @Test("an empty file has a tag of zeros and no type")
    func empty() throws {
        let answer = try plan(ReadFixture.needle([], checksum: 0x9a71_bb4c))
        #expect(answer.status == 200)
        #expect(answer.checksum == 0)
        #expect(answer.contentType.isNone)
        #expect(ReadFixture.body(answer) == "")
        #expect(try plan(ReadFixture.needle([])) { $0.ifNoneMatch = "\"00000000\"" }.status == 304)
    }

    @Test("parts")
    func ranges() throws {
        let needle = ReadFixture.needle(Self.hello, mime: "text/plain")
        func part(_ range: String) throws -> (HTTPStatus, String?, String?) {
            let answer = try plan(needle) { $0.range = range }
            return (answer.status, answer.contentRange, ReadFixture.body(answer))
        }
        #expect(try part("bytes=0-4") == (206, "bytes 0-4/11", "hello"))
        #expect(try part("bytes=-5") == (206, "bytes 6-10/11", "world"))
        #expect(try part("bytes=-0") == (206, "bytes 11-10/11", ""))
        #expect(
            try part("bytes=11-") == (416, "bytes */11", "invalid range: failed to overlap\n"))
        #expect(try part("bytes=5-2") == (416, nil, "invalid range\n"))
        #expect(try part("bytes=") == (200, nil, "hello world"))
        #expect(try part("bytes=0-10,0-10") == (200, nil, "hello world"))
    }

    @Test("the type of a part is guessed from that part")
    func sniffedPart() throws {
        let needle = ReadFixture.needle(Array("xx<html>".utf8))
        let answer = try plan(needle) { $0.range = "bytes=2-" }
        #expect(ReadFixture.text(answer.contentType) == "text/html; charset=utf-8")
    }

    @Test("several parts in one body")
    func severalParts() throws {
        let needle = ReadFixture.needle(Self.hello, mime: "text/plain")
        let answer = try plan(needle) { $0.range = "bytes=0-3,6-8" }
        #expect(answer.status == 206)
        #expect(answer.contentRange == nil)
        let type = try #require(ReadFixture.text(answer.contentType))
        let mark = "multipart/byteranges; boundary="
        #expect(type.hasPrefix(mark))
        let boundary = type.dropFirst(mark.count)
        #expect(
            ReadFixture.body(answer)
                == "--\(boundary)\r\nContent-Range: bytes 0-3/11\r\nContent-Type: text/plain\r\n"
                + "\r\nhell\r\n--\(boundary)\r\nContent-Range: bytes 6-8/11\r\n"
                + "Content-Type: text/plain\r\n\r\nwor\r\n--\(boundary)--\r\n")
    }

    @Test("a copy that is still good")
    func notModified() throws {
        let needle = ReadFixture.needle(Self.hello, lastModified: 1_400_000_000)
        let answer = try plan(needle) {
            $0.ifModifiedSince = "Tue, 13 May 2014 16:53:20 GMT"
            $0.range = "bytes=0-4"
        }
        #expect(answer.status == 304)
        #expect(answer.lastModified == 1_400_000_000)
        #expect(answer.checksum == nil)
        guard case .none = answer.body else {
            Issue.record("304 with a body: \(answer.body)")
            return
        }
    }

    @Test("stored headers come back, but cannot falsify the answer's own")
    func pairs() throws {
        let needle = ReadFixture.needle(
            Self.hello, name: "x.bin",
            pairs: """
                {"Owner":"alice","Album":"2024 \\u0026 \\u003cb\\u003e","Content-Length":"1",
                "Etag":"x","Content-Type":"x/y","bad name":"v","Cache-Control":"no-store","":"e"}
                """)
        let answer = try plan(needle)
        #expect(answer.pairs.map(\.name) == ["Album", "Cache-Control", "Owner"])
        #expect(answer.pairs.map(\.value) == ["2024 & <b>", "no-store", "alice"])
        #expect(ReadFixture.text(answer.contentType) == "application/octet-stream")
        let nameless = ReadFixture.needle(
            Self.hello, pairs: #"{"Content-Type":"x/y","Content-Disposition":"inline"}"#)
        let second = try plan(nameless)
        #expect(ReadFixture.text(second.contentType) == "x/y")
        guard case .verbatim("inline") = second.naming else {
            Issue.record("the stored disposition is lost: \(second.naming)")
            return
        }
    }

    @Test(
        "broken stored headers are none", arguments: ["", "[1]", "{\"a\":1}", "{", "null", "\u{0}"])
    func brokenPairs(json: String) throws {
        #expect(try plan(ReadFixture.needle(Self.hello, pairs: json)).pairs.isEmpty)
    }

    @Test("clients can replace headers")
    func overrides() throws {
        let needle = ReadFixture.needle(
            Self.hello, name: "a.txt", pairs: #"{"Cache-Control":"no-store"}"#)
        let answer = try plan(needle) {
            $0.query = ReadQuery([
                ("response-content-type", "a/b"), ("response-content-disposition", "inline"),
                ("response-cache-control", "private"), ("response-expires", "never"),
                ("response-content-language", ""),
            ])
        }
        #expect(ReadFixture.text(answer.contentType) == "a/b")
        #expect(
            answer.extras.map { "\($0.header): \($0.value)" }
                == ["Cache-Control: private", "Expires: never"])
        #expect(answer.pairs.isEmpty)
    }

    @Test(
        "downloads",
        arguments: [("1", true), ("True", true), ("yes", false), ("0", false), ("", false)])
    func download(value: String, isAttachment: Bool) {
        #expect(ReadQuery([("dl", value)]).isDownload == isAttachment)
    }

    @Test("gzip goes as it is to clients that take it, unpacked to others")
    func gzip() throws {
        let packed = ReadFixture.gzip(Self.hello)
        let needle = ReadFixture.needle(packed, mime: "text/plain", isCompressed: true)
        let unpacked = try plan(needle)
        #expect(ReadFixture.body(unpacked) == "hello world")
        #expect(unpacked.encoding.isNone)
        #expect(unpacked.checksum == 0xc994_65aa)
        let asStored = try plan(needle) { $0.acceptsGzip = true }
        #expect(ReadFixture.text(asStored.encoding) == "gzip")
        guard case .bytes(let bytes) = asStored.body else {
            Issue.record("not in memory: \(asStored.body)")
            return
        }
        #expect(Array(bytes.readableBytesView) == packed)
        let part = try plan(needle) { $0.range = "bytes=6-" }
        #expect(ReadFixture.body(part) == "world")
        let nameless = ReadFixture.needle(packed, isCompressed: true)
        #expect(try plan(nameless) { $0.acceptsGzip = true }.contentType.isNone)
    }

    @Test("data that only claims to be gzip comes back as it was sent")
    func liar() throws {
        let needle = ReadFixture.needle(Self.hello, isCompressed: true)
        let answer = try plan(needle) { $0.acceptsGzip = true }
        #expect(answer.encoding.isNone)
        #expect(ReadFixture.body(answer) == "hello world")
    }

    @Test("broken gzip is an error for clients that need it unpacked, and only for them")
    func brokenGzip() throws {
        let packed = Array(ReadFixture.gzip(Self.hello).dropLast(9))
        let needle = ReadFixture.needle(packed, isCompressed: true)
        #expect(throws: InflateError.self) { try plan(needle) }
        #expect(try plan(needle) { $0.acceptsGzip = true }.status == 200)
    }

    @Test("what takes long is left to a read thread")
    func deferred() throws {
        let large = [UInt8](repeating: 7, count: ReadPlan.inlineUnpackedBytes + 1)
        let packed = ReadFixture.needle(ReadFixture.gzip(large), isCompressed: true)
        let manifest = ReadFixture.needle(Array("{}".utf8), isChunkManifest: true)
        for needle in [packed, manifest] {
            let answer = try ReadPlan.answer(
                for: needle, id: ReadFixture.id, ReadRequest(), mayBlock: false)
            #expect(answer.map(\.status) == nil)
        }
    }

    @Test("a chunk manifest stands for the whole")
    func manifest() throws {
        let json = """
            {"name":"big.bin","mime":"application/x-big","size":20,
            "chunks":[{"fid":"42,7012345678","offset":0,"size":20}]}
            """
        let needle = ReadFixture.needle(
            ReadFixture.gzip(Array(json.utf8)), name: "other.txt", isCompressed: true,
            isChunkManifest: true)
        let answer = try plan(needle) { $0.isHead = true }
        #expect(answer.isChunked)
        #expect(ReadFixture.text(answer.contentType) == "application/x-big")
        guard case .omitted(20) = answer.body else {
            Issue.record("not 20 bytes long: \(answer.body)")
            return
        }
        let raw = try plan(needle) { $0.query = ReadQuery([("cm", "false")]) }
        #expect(!raw.isChunked)
        #expect(ReadFixture.body(raw) == json)
        #expect(ReadFixture.text(raw.contentType) == "text/plain; charset=utf-8")
    }

    @Test("a manifest that is no JSON is served as it is")
    func noManifest() throws {
        let answer = try plan(ReadFixture.needle(Self.hello, isChunkManifest: true))
        #expect(!answer.isChunked)
        #expect(ReadFixture.body(answer) == "hello world")
    }
}
