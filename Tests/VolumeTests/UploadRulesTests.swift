import NIOCore
import Testing

@testable import Volume

@Suite struct MediaParametersTests {
    @Test(arguments: [
        ("form-data; filename=u1.txt; name=file", "u1.txt"),
        ("form-data; name=\"file\"; filename=\"a b;c.txt\"", "a b;c.txt"),
        (#"form-data; filename="quo\"te.bin""#, "quo\"te.bin"),
        (#"form-data; filename="C:\dir\win.doc""#, #"C:\dir\win.doc"#),
        (#"form-data; filename="a\\b""#, #"a\b"#),
        ("form-data; filename*=utf-8''%C3%A9.txt", "é.txt"),
        ("form-data; filename=\"plain.txt\"; filename*=UTF-8'en'%e2%98%83.txt", "☃.txt"),
        ("form-data; filename=\"plain.txt\"; filename*=latin-1''%E9.txt", "plain.txt"),
        ("attachment;FILENAME=x.bin", "x.bin"), ("filename=\"x\"", "x"),
        ("inline; filename=\"unclosed", "unclosed"),
        ("form-data ; filename = spaced ; x=y", "spaced"),
    ])
    func finds(_ header: String, _ filename: String) {
        #expect(MediaParameters(header)["filename"] == filename)
    }

    @Test(arguments: ["", ";", "form-data", "form-data; name=x", "form-data; filename"])
    func findsNothing(_ header: String) { #expect(MediaParameters(header)["filename"] == nil) }

    @Test func valueIsLowerCase() {
        let type = MediaParameters("Multipart/Form-Data; boundary=\"a=b\"")
        #expect(type.value == "multipart/form-data")
        #expect(type["boundary"] == "a=b")
    }
}

@Suite struct MultipartHeadersTests {
    @Test func parsesWhatMatters() {
        let block = ByteBuffer(
            string:
                "content-TYPE:  text/plain \r\nContent-Disposition: form-data;\r\n filename=a.txt\r\n"
                + "Content-Encoding: gzip\r\nContent-MD5: AAAA\r\nnonsense\r\n\r\n")
        let headers = MultipartHeaders(block: block.readableBytesView)
        #expect(headers.contentType == "text/plain")
        #expect(headers.filename == "a.txt")
        #expect(headers.isGzip)
        #expect(headers.contentMD5 == "AAAA")
    }
}

@Suite struct PartChoiceTests {
    private func chosen(_ filenames: [String]) throws -> String {
        var body = ""
        for (index, name) in filenames.enumerated() {
            body +=
                "--b\r\nContent-Disposition: form-data; name=x; filename=\"\(name)\"\r\n\r\n\(index)\r\n"
        }
        let part = try WholePart.find(in: ByteBuffer(string: body + "--b--\r\n"), boundary: "b")
        return "\(part.headers.filename):\(String(buffer: part.data))"
    }

    @Test func firstWithAName() throws {
        #expect(try chosen(["a", "b"]) == "a:0")
        #expect(try chosen(["", "b", "c"]) == "b:1")
        #expect(try chosen(["", ""]) == ":0")
        #expect(try chosen(["", "", "c"]) == "c:2")
    }
}

@Suite struct UploadRulesTests {
    @Test(arguments: [
        ("a/b/c.dat", "c.dat"), (#"C:\dir\win.doc"#, "win.doc"), ("plain", "plain"), ("", ""),
        ("dir/", "dir"),
        ("///", ""), ("/3,01637037d6", "3,01637037d6"), ("é/ü☃.bin", "ü☃.bin"),
    ])
    func baseName(_ path: String, _ name: String) { #expect(UploadRules.baseName(path) == name) }

    @Test(arguments: [
        ("text/plain; charset=utf-8", true), ("TEXT/css", true), ("application/xml", true),
        ("application/xhtml+xml", true), ("application/javascript", true), ("audio/wav", true),
        ("audio/x-wav", true), ("application/json", false), ("image/svg+xml", false),
        ("image/bmp", false), ("application/pdf", false), ("application/octet-stream", false),
        ("", false),
    ])
    func compressible(_ mime: String, _ expected: Bool) {
        #expect(UploadRules.isCompressible(mime: mime) == expected)
    }

    @Test func pairsAreSortedCanonicalAndEscaped() {
        #expect(
            Pairs.json(of: [
                ("Host", "x"), ("seaweed-zeta", "1"), ("SEAWEED-foo-BAR", "<a&b>\"\\"),
                ("Seaweed-Zeta", "second"), ("Seaweed-", "nameless"), ("Seaweedx", "no"),
            ]) == #"{"Foo-Bar":"\u003ca\u0026b\u003e\"\\","Zeta":"1"}"#)
        #expect(Pairs.json(of: [("Host", "x")]) == nil)
        let long = String(repeating: "v", count: Pairs.limit)
        #expect(Pairs.json(of: [("Seaweed-A", long)]) == nil)
    }
}

@Suite struct GzipTests {
    private func digest(
        _ pieces: [ByteBuffer], isGzip: Bool = true
    ) -> (size: UInt64, md5: String?) {
        var digest = UploadDigest(isGzip: isGzip, needsMD5: true)
        for piece in pieces { digest.update(piece) }
        return digest.finish()
    }

    @Test func compressesOnlyWhatShrinks() throws {
        let text = ByteBuffer(string: String(repeating: "hello, world. ", count: 400))
        let packed = try #require(Gzip.compress(text))
        #expect(packed.readableBytes * 10 < text.readableBytes * 9)
        #expect(Gzip.compress(ByteBuffer(string: "hello world")) == nil)
        #expect(Gzip.compress(ByteBuffer()) == nil)
        var random = SystemRandomNumberGenerator()
        let noise = ByteBuffer(
            bytes: (0..<4096).map { _ in UInt8.random(in: 0...255, using: &random) })
        #expect(Gzip.compress(noise) == nil)
    }

    @Test func digestLooksInside() throws {
        let text = ByteBuffer(string: String(repeating: "hello, world. ", count: 40_000))
        let packed = try #require(Gzip.compress(text))
        let inside = digest([text], isGzip: false)
        #expect(inside.size == UInt64(text.readableBytes))
        #expect(digest([packed]) == inside)
        let bytes = Array(packed.readableBytesView)
        #expect(digest(bytes.map { ByteBuffer(bytes: [$0]) }) == inside)
        // Two members joined are one file.
        #expect(digest([packed, packed]).size == 2 * inside.size)
    }

    @Test func whatIsNoGzipCountsAsItIs() throws {
        let text = ByteBuffer(string: String(repeating: "hello, world. ", count: 400))
        let packed = try #require(Gzip.compress(text))
        let cut = ByteBuffer(bytes: packed.readableBytesView.dropLast(9))
        #expect(digest([text]) == digest([text], isGzip: false))
        #expect(digest([cut]) == digest([cut], isGzip: false))
    }

    @Test func knownMD5() {
        #expect(
            digest([ByteBuffer(string: "hello world")], isGzip: false).md5
                == "XrY7u+Ae7tCTyyK7j1rNww==")
    }
}

@Suite struct Base64Tests {
    @Test(arguments: [
        ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="),
    ])
    func encodes(_ text: String, _ encoded: String) {
        #expect(Base64.encode(text.utf8) == encoded)
        let bare = encoded.prefix { $0 != "=" }
        #expect(Base64.decodeURL(bare) == Array(text.utf8))
    }

    @Test func refusesOtherAlphabets() {
        #expect(Base64.decodeURL("a+b") == nil)
        #expect(Base64.decodeURL("_-8") == [0xff, 0xef])
        #expect(Base64.decodeURL("A") == nil)
    }
}
