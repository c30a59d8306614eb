import HTTPServer
import NIOCore
import Testing

@Suite struct ChunkedDecoderTests {
    /// The body and what is left of the buffer, or the fault.
    private func decode(_ parts: [ArraySlice<UInt8>]) -> String {
        var decoder = ChunkedDecoder()
        var buffer = ByteBuffer()
        var body = ByteBuffer()
        for part in parts {
            buffer.writeBytes(part)
            loop: while true {
                switch decoder.next(&buffer) {
                case .incomplete: break loop
                case .piece(let piece): body.writeImmutableBuffer(piece)
                case .end: break loop
                case .failure(let reason): return "failure: \(reason)"
                }
            }
        }
        return String(buffer: body) + "|" + String(buffer: buffer)
    }

    private func decode(_ text: String) -> String { decode([Array(text.utf8)[...]]) }

    @Test(arguments: [
        ("5\r\nhello\r\n0\r\n\r\nrest", "hello|rest"), ("0\r\n\r\n", "|"),
        ("1\r\na\r\n00A\r\n0123456789\r\n0\r\n\r\n", "a0123456789|"),
        ("3;name=value;q=\"x\"\r\nabc\r\n0;last\r\n\r\n", "abc|"),
        ("3 \t;x\r\nabc\r\n0\r\nTrailer: v\r\nOther: w\r\n\r\nnext", "abc|next"),
        ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n|"),
    ])
    func decodes(_ text: String, _ result: String) {
        #expect(decode(text) == result)
        let bytes = Array(text.utf8)
        for split in 0...bytes.count {
            #expect(decode([bytes[..<split], bytes[split...]]) == result, "split at \(split)")
        }
        #expect(decode(bytes.indices.map { bytes[$0...$0] }) == result)
    }

    @Test(arguments: [
        "\r\n", "x\r\n", "-1\r\n", "+1\r\na", "0x1\r\na", " 1\r\na", "1 \r\na\r\n", "1\na\r\n",
        "1\r\nab\r\n", "1\r\na\n0\r\n\r\n", "1\ra", ";x\r\n", "1;\u{0}\r\na\r\n", "1;a\nb\r\n",
        "10000000000000000\r\n", "ffffffffffffffffffff\r\n", "0\r\nX: y\n\r\n", "0\r\n\r\u{0}",
        "0\r\n bad: trailer\r\n\r\n", "0\r\nX: \u{1}\r\n\r\n",
    ])
    func refuses(_ text: String) {
        #expect(decode(text).hasPrefix("failure: chunked coding: "))
    }

    @Test func boundsOverhead() {
        let extensions = String(repeating: "x", count: 20_000)
        #expect(decode("1;\(extensions)").hasPrefix("failure"))
        #expect(decode("0\r\nX: \(extensions)").hasPrefix("failure"))
        #expect(
            decode(String(repeating: "1;eeeeeeeeeeeeeee\r\na\r\n", count: 2_000)).hasPrefix(
                "failure"))
    }

    @Test func staysBroken() {
        var decoder = ChunkedDecoder()
        var bad = ByteBuffer(string: "z")
        var good = ByteBuffer(string: "1\r\na\r\n0\r\n\r\n")
        #expect(decoder.next(&bad) == .failure("chunked coding: size is not hexadecimal"))
        #expect(decoder.next(&good) == .failure("chunked coding: broken before"))
    }

    @Test func survivesMutations() {
        let seed = newSeed("survivesMutations")
        var random = Seeded(seed: seed)
        let original = Array("5;a=b\r\nhello\r\nA\r\n0123456789\r\n0\r\nT: v\r\n\r\n".utf8)
        var failures = 0
        for round in 0..<50_000 {
            var bytes = original
            for _ in 0..<Int.random(in: 0...3, using: &random) {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                bytes[place] = UInt8.random(in: 0...255, using: &random)
            }
            let cut = Int.random(in: 0...bytes.count, using: &random)
            let result = decode([bytes[..<cut], bytes[cut...]])
            if result.hasPrefix("failure") { failures += 1 }
            if result.utf8.count > 3 * bytes.count + 60 {
                Issue.record("seed \(seed), round \(round): more out than in")
            }
        }
        #expect(failures > 1_000 && failures < 50_000)
    }
}
