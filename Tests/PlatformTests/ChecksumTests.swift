import Platform
import Testing

@Suite struct ChecksumTests {
    private func crc(_ bytes: [UInt8], continuing start: UInt32 = 0) -> UInt32 {
        unsafe CRC32C.checksum(bytes.span.bytes, continuing: start)
    }

    /// Vectors of RFC 3720, appendix B.4, and of the format's description.
    @Test func knownVectors() {
        #expect(crc(Array("123456789".utf8)) == 0xe306_9283)
        #expect(crc(Array("hello".utf8)) == 0x9a71_bb4c)
        #expect(crc([]) == 0)
        #expect(crc([UInt8](repeating: 0, count: 32)) == 0x8a91_36aa)
        #expect(crc([UInt8](repeating: 0xff, count: 32)) == 0x62a8_ab43)
        #expect(crc(Array(0..<32)) == 0x46dd_794e)
        #expect(crc(Array((0..<32).reversed())) == 0x113f_db5c)
    }

    /// The definition, a bit at a time.
    private func slow(_ bytes: [UInt8]) -> UInt32 {
        var crc = UInt32.max
        for byte in bytes {
            crc ^= UInt32(byte)
            for _ in 0..<8 { crc = crc & 1 == 1 ? crc >> 1 ^ 0x82f6_3b78 : crc >> 1 }
        }
        return ~crc
    }

    /// Long runs are computed as three stretches at once.
    @Test(arguments: [12_287, 12_288, 12_289, 24_576, 40_000])
    func longRuns(_ length: Int) {
        var generator = SeededGenerator(seed: UInt64(length))
        let bytes = (0..<length).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
        #expect(crc(bytes) == slow(bytes))
        #expect(crc(Array(bytes[5...]), continuing: crc(Array(bytes[..<5]))) == slow(bytes))
    }

    @Test func everyLengthAndEverySplit() {
        var generator = SeededGenerator(seed: 42)
        let bytes = (0..<67).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
        for length in 0...67 {
            let part = Array(bytes[..<length])
            let whole = slow(part)
            #expect(crc(part) == whole)
            for split in 0...length {
                let first = crc(Array(part[..<split]))
                #expect(crc(Array(part[split...]), continuing: first) == whole)
            }
        }
    }
}
