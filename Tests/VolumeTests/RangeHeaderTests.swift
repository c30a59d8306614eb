import Testing

@testable import Volume

@Suite("Range headers")
struct RangeHeaderTests {
    private static func parse(_ text: String, _ size: UInt64) -> RangeHeader {
        RangeHeader.parse(text.utf8.span, size: size)
    }

    @Test(
        "one part of eleven bytes",
        arguments: [
            ("bytes=0-4", 0, 5, "0-4/11"), ("bytes=6-", 6, 5, "6-10/11"),
            ("bytes=-5", 6, 5, "6-10/11"), ("bytes=3-100", 3, 8, "3-10/11"),
            ("bytes=-100", 0, 11, "0-10/11"), ("bytes=-0", 11, 0, "11-10/11"),
            ("bytes= 0 - 4 ", 0, 5, "0-4/11"), ("bytes=,,0-0,", 0, 1, "0-0/11"),
            ("bytes=10-9223372036854775807", 10, 1, "10-10/11"),
            ("bytes=2-2,20-30", 2, 1, "2-2/11"),
        ] as [(String, UInt64, UInt64, String)])
    func single(header: String, start: UInt64, length: UInt64, text: String) {
        let range = ByteRange(start: start, length: length)
        #expect(Self.parse(header, 11) == .single(range))
        #expect(range.text(of: 11) == text)
    }

    @Test(
        "parts that cannot be given",
        arguments: [
            ("bytes=11-", .unsatisfiable), ("bytes=11-20", .unsatisfiable),
            ("bytes=99-,50-60", .unsatisfiable),
            ("bytes=5-2", .invalid), ("abc", .invalid), ("items=0-1", .invalid),
            ("bytes=a-b", .invalid), ("bytes=1", .invalid), ("bytes=-", .invalid),
            ("bytes=--1", .invalid), ("bytes=0-1-2", .invalid), ("Bytes=0-1", .invalid),
            ("bytes=9223372036854775808-", .invalid),
            ("bytes=0-99999999999999999999999999", .invalid), ("bytes=+1-2", .invalid),
            ("bytes=0-1,x", .invalid),
            ("", .whole), ("bytes=", .whole), ("bytes=,, ,", .whole),
            ("bytes=0-10,0-10", .whole), ("bytes=0-,0-", .whole),
        ] as [(String, RangeHeader)])
    func others(header: String, expected: RangeHeader) {
        #expect(Self.parse(header, 11) == expected)
    }

    @Test("several parts come in the order asked for")
    func several() {
        #expect(
            Self.parse("bytes=6-8, 0-3", 11)
                == .several([ByteRange(start: 6, length: 3), ByteRange(start: 0, length: 4)]))
    }

    @Test("nothing of an empty file can be given")
    func emptyFile() {
        #expect(Self.parse("bytes=0-4", 0) == .unsatisfiable)
        #expect(Self.parse("bytes=-5", 0) == .unsatisfiable)
        #expect(Self.parse("bytes=", 0) == .whole)
    }

    @Test("too many parts get everything")
    func tooMany() {
        let list = { (count: Int) in
            "bytes=" + Array(repeating: "0-0", count: count).joined(separator: ",")
        }
        #expect(Self.parse(list(RangeHeader.maxRanges + 1), 1 << 20) == .whole)
        guard case .several(let ranges) = Self.parse(list(RangeHeader.maxRanges), 1 << 20) else {
            Issue.record("the largest permitted number of parts was not accepted")
            return
        }
        #expect(ranges.count == RangeHeader.maxRanges)
    }

    @Test("whatever comes, parts lie inside of the file", arguments: [1, 2, 3] as [UInt64])
    func noise(seed: UInt64) {
        var generator = ReadNoise(seed: seed)
        let pieces = [
            "bytes=", "-", ",", "0", "1", "9", " ", "18446744073709551615", "9223372036854775807",
            "x", "\t", "\u{0}", "--", "é",
        ]
        for _ in 0..<5000 {
            let header = "bytes=" + generator.text(of: pieces, upTo: 12)
            let size = generator.next() >> UInt64.random(in: 0...63, using: &generator)
            let ranges: [ByteRange] =
                switch Self.parse(header, size) {
                case .single(let range): [range]
                case .several(let ranges): ranges
                default: []
                }
            for range in ranges {
                let (end, overflow) = range.start.addingReportingOverflow(range.length)
                #expect(!overflow && end <= size, "seed \(seed): \(header) of \(size)")
            }
        }
    }

    @Test("the frame of several parts")
    func frame() {
        var generator = ReadNoise(seed: 7)
        let frame = RangeMultipart(size: 11, contentType: "text/plain", using: &generator)
        #expect(frame.boundary.utf8.count == 40)
        #expect(frame.header == "multipart/byteranges; boundary=\(frame.boundary)")
        let range = ByteRange(start: 6, length: 3)
        let opening =
            "--\(frame.boundary)\r\nContent-Range: bytes 6-8/11\r\nContent-Type: text/plain\r\n\r\n"
        #expect(frame.opening(range, isFirst: true) == opening)
        #expect(frame.opening(range, isFirst: false) == "\r\n" + opening)
        #expect(frame.closing == "\r\n--\(frame.boundary)--\r\n")
    }
}
