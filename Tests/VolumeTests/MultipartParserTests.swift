import NIOCore
import Testing

@testable import Volume

/// A part as the parser told of it.
private struct SeenPart: Equatable {
    var filename: String
    var contentType = ""
    var data: String
}

/// Feeds `text` in pieces cut at `cuts` and collects the parts.
private func parts(
    _ text: [UInt8], boundary: String = "xyz", cuts: [Int] = []
) throws(MultipartError) -> [SeenPart] {
    var parser = MultipartParser(boundary: boundary)
    var seen: [SeenPart] = []
    var bytes: [UInt8] = []
    var from = 0
    for cut in cuts + [text.count] {
        parser.feed(ByteBuffer(bytes: text[from..<cut]))
        from = cut
        while let event = try parser.next() {
            switch event {
            case .part(let headers):
                seen.append(
                    SeenPart(
                        filename: headers.filename, contentType: headers.contentType, data: ""))
                bytes = []
            case .data(let piece): bytes.append(contentsOf: piece.readableBytesView)
            case .partEnd: seen[seen.count - 1].data = String(decoding: bytes, as: UTF8.self)
            case .end: break
            }
        }
    }
    try parser.finish()
    return seen
}

private func parts(_ text: String, cuts: [Int] = []) throws(MultipartError) -> [SeenPart] {
    try parts(Array(text.utf8), cuts: cuts)
}

private let twoParts =
    "preamble\r\n--xyz\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nfirst\r\n-xyz\r\n--xy\r\n"
    + "--xyz \r\ncontent-disposition: form-data; name=file; filename=\"b.txt\"\r\n"
    + "Content-Type: text/plain\r\n\r\nsecond\r\n--xyz-\r\n--xyz--\r\nepilogue"

@Suite struct MultipartParserTests {
    @Test func takesPartsApart() throws {
        #expect(
            try parts(twoParts) == [
                SeenPart(filename: "", data: "first\r\n-xyz\r\n--xy"),
                SeenPart(filename: "b.txt", contentType: "text/plain", data: "second\r\n--xyz-"),
            ])
    }

    @Test func everySplitGivesTheSame() throws {
        let whole = try parts(twoParts)
        let count = twoParts.utf8.count
        for cut in 0...count { #expect(try parts(twoParts, cuts: [cut]) == whole, "cut at \(cut)") }
        #expect(try parts(twoParts, cuts: Array(1..<count)) == whole)
    }

    @Test func lineFeedsAloneWhenTheFirstBoundaryLineHasThem() throws {
        let text = "--xyz\nContent-Disposition: form-data; filename=a\n\none\r\n--xyz--"
        // The carriage return then belongs to the data.
        #expect(try parts(text) == [SeenPart(filename: "a", data: "one\r")])
    }

    @Test func emptyPartsInBothForms() throws {
        #expect(
            try parts("--xyz\r\nContent-Disposition: form-data; filename=a\r\n\r\n\r\n--xyz--")
                == [SeenPart(filename: "a", data: "")])
        #expect(
            try parts("--xyz\r\nContent-Disposition: form-data; filename=a\r\n\r\n--xyz--\r\n")
                == [SeenPart(filename: "a", data: "")])
    }

    @Test func partWithoutHeaders() throws {
        #expect(try parts("--xyz\r\n\r\ndata\r\n--xyz--") == [SeenPart(filename: "", data: "data")])
    }

    @Test(arguments: [
        ("", MultipartError.nextPart), ("no boundary at all\r\n", .nextPart), ("--xyz", .nextPart),
        ("--xyz\r\nContent-Type: a/b\r\n", .nextPart), ("--xyz--\r\n", .noParts),
        ("--xyz--", .noParts),
        ("--xyz\r\n\r\nhalf", .unexpectedEnd), ("--xyz\r\n\r\nhalf\r\n--xyz", .unexpectedEnd),
        ("--xyz\r\n\r\nhalf\r\n--xyz\r\n", .nextPart),
        ("--xyz\r\n\r\na\r\n--xyz rest\r\n", .boundaryLine),
    ])
    func refuses(_ text: String, _ error: MultipartError) {
        #expect(throws: error) { try parts(text) }
        #expect(throws: error) { try parts(text, cuts: Array(0..<text.utf8.count)) }
    }

    @Test func errorTextsAreThoseOfTheOriginal() {
        #expect(MultipartError.nextPart.description == "multipart: NextPart: EOF")
        #expect(MultipartError.noParts.description == "EOF")
        #expect(
            MultipartError.noBoundary.description == "no multipart boundary param in Content-Type")
        #expect(
            MultipartError.notMultipart.description
                == "request Content-Type isn't multipart/form-data")
    }

    @Test func limitsHeadersAndPreamble() {
        let long = String(repeating: "a", count: MultipartParser.headersLimit)
        #expect(throws: MultipartError.headersTooLong) { try parts("--xyz\r\nX: \(long)") }
        #expect(throws: MultipartError.headersTooLong) { try parts("--xyz\r\nX: \(long)\r\n\r\n") }
        let preamble = String(repeating: "a\n", count: MultipartParser.preambleLimit / 2 + 1)
        #expect(throws: MultipartError.nextPart) {
            try parts(preamble + "--xyz\r\n\r\na\r\n--xyz--")
        }
    }

    @Test func randomBodiesSurviveRandomCuts() throws {
        let seed = UInt64.random(in: .min ... .max)
        print("multipart seed \(seed)")
        var random = SplitMix(seed: seed)
        for _ in 0..<300 {
            let data = random.bytes(below: 200)
            let body =
                Array("--xyz\r\nContent-Disposition: form-data; filename=f\r\n\r\n".utf8)
                + data + Array("\r\n--xyz--\r\n".utf8)
            let cuts = (0..<Int.random(in: 0...6, using: &random))
                .map { _ in Int.random(in: 0...body.count, using: &random) }.sorted()
            let seen = try parts(body, cuts: cuts)
            #expect(seen == [SeenPart(filename: "f", data: String(decoding: data, as: UTF8.self))])
        }
    }

    @Test func garbageNeverTrapsAndCutsDoNotMatter() {
        let seed = UInt64.random(in: .min ... .max)
        print("multipart garbage seed \(seed)")
        var random = SplitMix(seed: seed)
        for _ in 0..<500 {
            let body = random.bytes(below: 120)
            let cuts = (0..<4).map { _ in Int.random(in: 0...body.count, using: &random) }.sorted()
            let whole = Result { () throws(MultipartError) in try parts(body) }
            let cut = Result { () throws(MultipartError) in try parts(body, cuts: cuts) }
            #expect(whole == cut, "seed \(seed), body \(body), cuts \(cuts)")
        }
    }
}

/// A small generator with a seed, biased towards the bytes that matter to the parser.
private struct SplitMix: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// Pieces of boundaries and line ends, never a whole delimiter.
    mutating func bytes(below limit: Int) -> [UInt8] {
        let words = [
            "\r", "\n", "\r\n", "--", "-", "--xy", "xyz", "a", ":", " ", "\r\n--xy", "\r\n--xyzq",
        ]
        var bytes: [UInt8] = []
        let count = Int.random(in: 0..<limit, using: &self)
        while bytes.count < count {
            bytes += Array((words.randomElement(using: &self) ?? "a").utf8)
            if bytes.suffix(8).elementsEqual("\r\n--xyz\r".utf8) { bytes.removeLast() }
        }
        // A random tail may complete a delimiter; the letter keeps it from being one.
        var clean: [UInt8] = []
        for byte in bytes {
            if clean.suffix(5).elementsEqual("--xyz".utf8), byte != 0x71 { clean.append(0x71) }
            clean.append(byte)
        }
        return clean.suffix(5).elementsEqual("--xyz".utf8) ? clean + [0x71] : clean
    }
}
