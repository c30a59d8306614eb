import Testing

@testable import Volume

@Suite("Content-Disposition")
struct DispositionTests {
    private static func text(_ name: [UInt8], isAttachment: Bool = false) -> String {
        Disposition(name: name.span, isAttachment: isAttachment).withSpan { span in
            String(decoding: (0..<span.count).map { span[$0] }, as: UTF8.self)
        }
    }

    @Test(
        "names as tokens, quoted, and escaped",
        arguments: [
            ("hello.txt", "inline; filename=hello.txt"),
            ("UPPER.HTML", "inline; filename=UPPER.HTML"),
            (".hidden", "inline; filename=.hidden"),
            ("1,0338c04b88", "inline; filename=\"1,0338c04b88\""),
            ("quo\"te;semi.bin", "inline; filename=\"quo\\\"te;semi.bin\""),
            ("back\\slash", "inline; filename=\"back\\\\slash\""),
            ("two words.bin", "inline; filename=\"two words.bin\""),
            ("tab\t", "inline; filename=\"tab\t\""),
            (
                "héllo wörld ☃.bin",
                "inline; filename*=utf-8''h%C3%A9llo%20w%C3%B6rld%20%E2%98%83.bin"
            ),
            ("é.txt", "inline; filename*=utf-8''%C3%A9.txt"),
            ("é'*%(", "inline; filename*=utf-8''%C3%A9%27%2A%25%28"),
            ("a\r\nSet-Cookie: x", "inline; filename*=utf-8''a%0D%0ASet-Cookie%3A%20x"),
            ("del\u{7f}", "inline; filename*=utf-8''del%7F"),
        ])
    func forms(name: String, expected: String) {
        #expect(Self.text(Array(name.utf8)) == expected)
    }

    @Test("downloads are attachments")
    func attachment() {
        #expect(Self.text(Array("a b".utf8), isAttachment: true) == "attachment; filename=\"a b\"")
    }

    @Test("names that are not UTF-8 are escaped byte by byte")
    func broken() {
        #expect(Self.text([0x61, 0xff]) == "inline; filename*=utf-8''a%FF")
    }

    @Test("long names are kept whole", arguments: [200, 255, 256, 300, 60_000])
    func long(count: Int) {
        let plain = String(repeating: "n", count: count)
        #expect(Self.text(Array(plain.utf8)) == "inline; filename=" + plain)
        let umlauts = String(repeating: "ü", count: count)
        let escaped = String(repeating: "%C3%BC", count: count)
        #expect(Self.text(Array(umlauts.utf8)) == "inline; filename*=utf-8''" + escaped)
    }
}
