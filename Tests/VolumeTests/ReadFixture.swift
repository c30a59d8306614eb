import Model
import NIOCore

@testable import Needles
@testable import Volume

/// Needles made in memory, and what comes of them.
enum ReadFixture {
    static let id = FileID(volume: 3, key: 0x01, cookie: 0x6370_37d6)

    static func needle(
        _ data: [UInt8], name: String? = nil, mime: String? = nil, lastModified: UInt64? = nil,
        pairs: String? = nil, isCompressed: Bool = false, isChunkManifest: Bool = false,
        checksum: UInt32 = 0xc994_65aa
    ) -> StoredNeedle {
        func buffer(_ text: String?) -> ByteBuffer? { text.map { ByteBuffer(string: $0) } }
        return StoredNeedle(
            id: id.key, cookie: id.cookie, recordSize: UInt32(data.count),
            body: .bytes(ByteBuffer(bytes: data)), isCompressed: isCompressed,
            isChunkManifest: isChunkManifest, name: buffer(name), mime: buffer(mime),
            lastModified: lastModified, ttl: .none, pairs: buffer(pairs), checksum: checksum,
            appendedAtNanoseconds: 0)
    }

    static func text(_ text: HeaderText) -> String? {
        if case .none = text { return nil }
        return text.withSpan { span in
            String(decoding: (0..<span.count).map { span[$0] }, as: UTF8.self)
        }
    }

    static func body(_ answer: ReadAnswer) -> String? {
        guard case .bytes(let bytes) = answer.body else { return nil }
        return String(decoding: bytes.readableBytesView, as: UTF8.self)
    }

    /// Data in the form that `gzip -0` gives it: stored blocks, of which each holds up to 65535
    /// bytes.
    static func gzip(_ data: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]
        func put(_ value: UInt32, _ count: Int) {
            for i in 0..<count { bytes.append(UInt8(truncatingIfNeeded: value >> UInt32(8 * i))) }
        }
        var start = 0
        repeat {
            let end = min(start + 65_535, data.count)
            bytes.append(end == data.count ? 1 : 0)
            put(UInt32(end - start), 2)
            put(~UInt32(end - start), 2)
            bytes += data[start..<end]
            start = end
        } while start < data.count
        var crc: UInt32 = .max
        for byte in data {
            crc ^= UInt32(byte)
            for _ in 0..<8 { crc = crc >> 1 ^ (crc & 1 == 1 ? 0xedb8_8320 : 0) }
        }
        put(~crc, 4)
        put(UInt32(truncatingIfNeeded: data.count), 4)
        return bytes
    }
}
