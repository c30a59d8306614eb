import HTTPServer
import Testing

@testable import Volume

@Suite("Conditional requests")
struct ConditionalTests {
    private static func format(_ seconds: UInt64) -> String {
        LastModified(seconds).withSpan { span in
            String(decoding: (0..<span.count).map { span[$0] }, as: UTF8.self)
        }
    }

    @Test(
        "times as headers write them",
        arguments: [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"), (1, "Thu, 01 Jan 1970 00:00:01 GMT"),
            (86_400, "Fri, 02 Jan 1970 00:00:00 GMT"),
            (1_400_000_000, "Tue, 13 May 2014 16:53:20 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (1_099_511_627_775, "Mon, 20 Feb 36812 00:36:15 GMT"),
        ] as [(UInt64, String)])
    func dates(seconds: UInt64, text: String) {
        #expect(Self.format(seconds) == text)
        if text.utf8.count == 29 { #expect(HTTPDate.parse(text) == Int64(seconds)) }
    }

    @Test("reading is the inverse of writing, day by day over many centuries")
    func inverse() {
        for day in stride(from: UInt64(0), to: 146_097 * 7, by: 13) {
            let seconds = day * 86_400 + day % 86_400
            #expect(HTTPDate.parse(Self.format(seconds)) == Int64(seconds))
        }
    }

    @Test(
        "other forms of time are not understood",
        arguments: [
            "", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
            "Tue, 13 May 2014 16:53:20 UTC", "Tue, 13 May 2014 24:53:20 GMT",
            "Tue, 31 Feb 2014 16:53:20 GMT", "Tue, 00 May 2014 16:53:20 GMT",
            "Xxx, 13 May 2014 16:53:20 GMT", "Tue, 13 Foo 2014 16:53:20 GMT",
            "Tue, 13 May 2014 16:53:20 GMT ", "Tue, 1x May 2014 16:53:20 GMT",
            "Wed, 29 Feb 2100 00:00:00 GMT", "Mon, 13 May 2014 16:53:20 GMT",
        ])
    func notDates(text: String) {
        #expect(HTTPDate.parse(text) == nil)
    }

    @Test("years before 1970 are understood")
    func earlyDates() {
        #expect(HTTPDate.parse("Wed, 31 Dec 1969 23:59:59 GMT") == -1)
        #expect(HTTPDate.parse("Sat, 01 Jan 0000 00:00:00 GMT") == -62_167_219_200)
    }

    @Test(
        "entity tags match alone, in lists, weak, and as a star",
        arguments: [
            ("\"c99465aa\"", true), ("W/\"c99465aa\"", true), ("*", true), (" * ", true),
            ("\"x\", \"c99465aa\"", true), ("\"a,b\",W/\"c99465aa\" ", true),
            ("c99465aa", false), ("\"C99465AA\"", false), ("\"c99465ab\"", false), ("", false),
            ("\"c99465aa", false), ("\"\"", false), (",,", false), ("W/", false),
            ("w/\"c99465aa\"", false), ("\"x, \"c99465aa\"", false),
        ])
    func tags(list: String, matches: Bool) {
        let found = ConditionalRequest.matches(list.utf8.span, checksum: 0xc994_65aa)
        #expect(found == matches)
    }

    @Test("tags keep leading zeros")
    func zeros() {
        let zero = ConditionalRequest.matches("\"00000000\"".utf8.span, checksum: 0)
        let fifteen = ConditionalRequest.matches("\"0000000f\"".utf8.span, checksum: 15)
        #expect(zero && fifteen)
    }

    @Test("the date is asked first, then the tag")
    func order() {
        func check(_ since: String?, _ tag: String?, _ modified: UInt64?) -> Bool {
            ConditionalRequest.isNotModified(
                ifModifiedSince: since, ifNoneMatch: tag, lastModified: modified,
                checksum: 0xc994_65aa)
        }
        let date = "Tue, 13 May 2014 16:53:20 GMT"
        #expect(check(date, nil, 1_400_000_000))
        #expect(check(date, nil, 1_399_999_999))
        #expect(!check(date, nil, 1_400_000_001))
        #expect(!check(date, nil, nil))
        #expect(check(date, "\"other\"", 1_400_000_000))
        #expect(check(date, "\"c99465aa\"", 1_400_000_001))
        #expect(check(nil, "\"c99465aa\"", nil))
        #expect(!check("yesterday", nil, 1))
        #expect(!check(nil, nil, 1))
    }

    @Test("noise is no date and no crash", arguments: [4, 5] as [UInt64])
    func noise(seed: UInt64) {
        var generator = ReadNoise(seed: seed)
        let date = Array("Tue, 13 May 2014 16:53:20 GMT".utf8)
        for _ in 0..<5000 {
            var bytes = date
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                bytes[Int.random(in: 0..<29, using: &generator)] = UInt8(
                    truncatingIfNeeded: generator.next())
            }
            if let seconds = HTTPDate.parse(bytes.span) {
                #expect(seconds > -62_200_000_000 && seconds < 253_402_300_800, "seed \(seed)")
            }
            _ = ConditionalRequest.matches(generator.bytes(upTo: 32).span, checksum: 1)
        }
    }
}
