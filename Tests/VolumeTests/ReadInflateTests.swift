import NIOCore
import NIOPosix
import Needles
import Testing

@testable import Volume

@Suite("Unpacking gzip")
struct ReadInflateTests {
    private static func unpack(_ packed: [UInt8], step: Int = 1000) throws -> [UInt8] {
        let inflater = try Inflater(.bytes(ByteBuffer(bytes: packed)))
        var bytes: [UInt8] = []
        while true {
            let piece = try inflater.next(limit: step)
            #expect(piece.readableBytes <= step)
            if piece.readableBytes == 0 { break }
            bytes += piece.readableBytesView
        }
        #expect(inflater.position == UInt64(bytes.count))
        return bytes
    }

    /// `hello hello hello hello` and a newline, as `gzip` packs it.
    private static let packedHello: [UInt8] = [
        0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0xff, 0xcb, 0x48, 0xcd, 0xc9, 0xc9,
        0x57, 0xc8, 0x40, 0x27, 0xb9, 0x00, 0x00, 0x88, 0x59, 0x0b, 0x18, 0x00, 0x00, 0x00,
    ]

    @Test("stored data of many sizes", arguments: [0, 1, 999, 1000, 1001, 65_535, 65_536, 300_000])
    func sizes(count: Int) throws {
        var generator = ReadNoise(seed: UInt64(count))
        let data = generator.bytes(count)
        #expect(try Self.unpack(ReadFixture.gzip(data), step: 70_000) == data)
    }

    @Test("compressed data, byte by byte")
    func compressed() throws {
        let expected = Array("hello hello hello hello\n".utf8)
        #expect(try Self.unpack(Self.packedHello, step: 1) == expected)
    }

    @Test("members joined end to end are one file, other bytes behind are none")
    func members() throws {
        let first = ReadFixture.gzip(Array("hello ".utf8))
        let second = ReadFixture.gzip(Array("world".utf8))
        #expect(try Self.unpack(first + second) == Array("hello world".utf8))
        #expect(
            try Self.unpack(first + ReadFixture.gzip([]) + second + [0, 0, 0])
                == Array("hello world".utf8))
    }

    @Test("every truncation is noticed")
    func truncated() {
        let packed = ReadFixture.gzip(Array("hello".utf8))
        for count in 2..<packed.count {
            #expect(throws: InflateError.truncated(at: UInt64(count))) {
                try Self.unpack(Array(packed.prefix(count)))
            }
        }
    }

    @Test("a wrong checksum is noticed")
    func wrongChecksum() {
        var packed = ReadFixture.gzip(Array("hello".utf8))
        packed[packed.count - 8] ^= 1
        #expect(throws: InflateError.self) { try Self.unpack(packed) }
    }

    @Test("noise is an error or data, never a crash", arguments: [10, 11] as [UInt64])
    func noise(seed: UInt64) {
        var generator = ReadNoise(seed: seed)
        let packed = ReadFixture.gzip(generator.bytes(64))
        for _ in 0..<500 {
            var damaged = packed
            for _ in 0..<3 {
                damaged[Int.random(in: 0..<damaged.count, using: &generator)] = UInt8(
                    truncatingIfNeeded: generator.next())
            }
            _ = try? Self.unpack(damaged)
        }
    }

    @Test("what is small is kept, what is large is measured")
    func measure() throws {
        let body = StoredNeedle.Body.bytes(
            ByteBuffer(bytes: ReadFixture.gzip([UInt8](repeating: 5, count: 5000))))
        guard case .bytes(let kept) = try Inflater.measure(body, keep: 5000) else {
            Issue.record("5000 bytes were not kept although as many may be")
            return
        }
        #expect(kept.readableBytes == 5000)
        guard case .length(5000) = try Inflater.measure(body, keep: 4999) else {
            Issue.record("5000 bytes were kept although fewer may be")
            return
        }
    }

    @Test("a reader goes forward, skips, and goes back")
    func reader() async throws {
        var generator = ReadNoise(seed: 12)
        let data = generator.bytes(400_000)
        let body = StoredNeedle.Body.bytes(ByteBuffer(bytes: ReadFixture.gzip(data)))
        let reader = InflateReader(body, pool: .singleton)
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        for (start, count) in [(0, 100), (100, 50), (300_000, 1000), (5, 10), (399_999, 100)] {
            let bytes = try await reader.read(at: UInt64(start), count: count, on: loop).get()
            let end = min(start + count, data.count)
            #expect(Array(bytes.readableBytesView) == Array(data[start..<end]))
        }
        await #expect(throws: ContentEndedEarly.self) {
            try await reader.read(at: 400_000, count: 1, on: loop).get()
        }
    }
}
