import NIOCore
import Testing

@testable import HTTPServer

@Suite struct UtilityTests {
    @Test(arguments: [
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"), (1_400_000_000, "Tue, 13 May 2014 16:53:20 GMT"),
        (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"), (-1, "Wed, 31 Dec 1969 23:59:59 GMT"),
        (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
        (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
    ])
    func dates(_ seconds: Int64, _ text: String) {
        #expect(HTTPDate.format(unixSeconds: seconds) == text)
        #expect(HTTPDate.parse(text) == seconds)
    }

    @Test func datesStayInRange() {
        #expect(HTTPDate.format(unixSeconds: .max) == "Fri, 31 Dec 9999 23:59:59 GMT")
        #expect(HTTPDate.format(unixSeconds: .min) == "Sat, 01 Jan 0000 00:00:00 GMT")
    }

    @Test func everyDayComesBack() {
        // A prime number of seconds steps through days, hours and leap years.
        for seconds in stride(from: Int64(-3_000_000_000), to: 9_000_000_000, by: 1_299_709) {
            #expect(HTTPDate.parse(HTTPDate.format(unixSeconds: seconds)) == seconds)
        }
    }

    @Test(arguments: [
        "", "Tue, 13 May 2014 16:53:20", "tue, 13 May 2014 16:53:20 GMT",
        "Wed, 13 May 2014 16:53:20 GMT", "Tue, 13 May 2014 24:53:20 GMT",
        "Tuesday, 13-May-14 16:53:20 GMT", "Tue May 13 16:53:20 2014",
        "Tue, 13 Mai 2014 16:53:20 GMT", "Tue, 1x May 2014 16:53:20 GMT",
        "Tue, 13 May 2014 16:53:20 UTC", "Sat, 29 Feb 2014 00:00:00 GMT",
        "Fri, 00 May 2014 00:00:00 GMT", "Tue, 13 May 2014 16:60:20 GMT",
    ])
    func refusesOtherDates(_ text: String) { #expect(HTTPDate.parse(text) == nil) }

    @Test func queries() {
        let query = Query(parsing: "a=1&b=x%20y+z&a=2&&c&=v&d=%zz%4&e=%C3%A9=")
        #expect(query["a"] == "1" && query.all("a") == ["1", "2"])
        #expect(query["b"] == "x y z" && query["c"] == "" && query[""] == "v")
        #expect(query["d"] == "%zz%4" && query["e"] == "é=" && query["f"] == nil)
        #expect(query.items.count == 7)
        #expect(Query(parsing: "").items.isEmpty)
        #expect(Query(parsing: "%61%3D=%26&x=\u{0}")["a="] == "&")
        #expect(Query(parsing: String(repeating: "a&", count: 5_000)).items.count == 1_000)
    }

    @Test func percentDecoding() {
        #expect("/a%2Cb+c%".percentDecoded == "/a,b+c%")
        #expect("%ff".percentDecoded == "\u{fffd}")
    }

    @Test func cookies() throws {
        let text =
            "GET / HTTP/1.1\r\nHost: a\r\nCookie: x=1; AT=tok=en ;q=\"v\"\r\nCookie: y=2\r\n\r\n"
        guard case .head(let request, _) = HTTPHeadParser.parse(ByteBuffer(string: text)) else {
            throw ClientError(description: "no head")
        }
        #expect(request.cookie("AT") == "tok=en" && request.cookie("x") == "1")
        #expect(request.cookie("q") == "v" && request.cookie("y") == "2")
        #expect(request.cookie("at") == nil && request.cookie("z") == nil)
    }

    @Test func headerWriterKeepsLinesApart() {
        var writer = HeaderWriter(buffer: ByteBuffer())
        writer.add("A", "x\r\nB: y\u{0}")
        writer.add("N", -5)
        writer.add("M", UInt64.max)
        writer.add(name: "X Y\r\n:", "z")
        writer.add("S", bytes: Array("p\r\nq".utf8).span)
        writer.add("L", dateUnixSeconds: 0)
        #expect(
            String(buffer: writer.buffer)
                == "A: xB: y\r\nN: -5\r\nM: 18446744073709551615\r\nXY: z\r\nS: pq\r\n"
                + "L: Thu, 01 Jan 1970 00:00:00 GMT\r\n")
    }

    @Test(arguments: [
        0, 9, 10, 99, 100, 12_345, 9_999_999_999_999_999_999, 10_000_000_000_000_000_000,
        UInt64.max,
    ])
    func decimals(_ number: UInt64) {
        var buffer = ByteBuffer()
        buffer.writeDecimal(number)
        #expect(String(buffer: buffer) == String(number))
    }

    @Test func tokenBytes() {
        let allowed =
            "!#$%&'*+-.^_`|~0123456789"
            + "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
        for byte in UInt8.min...UInt8.max {
            #expect(byte.isTokenByte == allowed.utf8.contains(byte), "byte \(byte)")
        }
    }

    @Test func reasons() {
        #expect(
            HTTPStatus(200).reason == "OK" && HTTPStatus(431).reason.hasPrefix("Request Header"))
        #expect(HTTPStatus(599).reason == "Unknown" && HTTPStatus(507).reason.hasPrefix("Insuff"))
    }

    @Test func errorsAreJSON() {
        #expect(
            String(decoding: jsonError("a\"b\\c\n<é>"), as: UTF8.self)
                == #"{"error":"a\"b\\c\u000a\u003cé\u003e"}"#)
    }
}
