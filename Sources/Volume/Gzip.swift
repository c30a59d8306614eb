import CGzip
import Crypto
import NIOCore
import Synchronization

/// Compression of whole small bodies.
enum Gzip {
    /// A body is stored compressed if that makes it smaller than this share of itself, in tenths.
    static let worthwhileTenths = 9

    /// The gzip form, if it is worth it; `nil` otherwise.
    static func compress(_ body: ByteBuffer) -> ByteBuffer? {
        let size = body.readableBytes
        guard size > 0 else { return nil }
        // More output than this is not worth it, so there is never a need for a larger buffer.
        let room = (size * worthwhileTenths - 1) / 10
        guard room > 0 else { return nil }
        guard let deflater = Deflater.take() else { return nil }
        defer { deflater.giveBack() }
        return deflater.deflate(body, room: room)
    }
}

/// A zlib stream that makes gzip.
///
/// Its quarter of a megabyte is kept for the next body.
@safe private final class Deflater: @unchecked Sendable {
    // `@unchecked`: used by the one thread that took it out of `idle`.

    /// Streams kept; as many bodies are compressed at a time without setting up another.
    private static let idleLimit = 8
    private static let idle = Mutex<[Deflater]>([])

    private let stream: OpaquePointer

    private init?() {
        guard let stream = unsafe weed_gzip_make(0) else { return nil }
        unsafe self.stream = stream
    }

    deinit { unsafe weed_gzip_free(stream) }

    /// One that nobody uses; `nil` without memory.
    static func take() -> Deflater? { idle.withLock { $0.popLast() } ?? Deflater() }

    /// Keeps it for the next body.
    func giveBack() {
        unsafe weed_gzip_reset(stream)
        Deflater.idle.withLock { if $0.count < Deflater.idleLimit { $0.append(self) } }
    }

    /// The gzip form of `body` if it takes at most `room` bytes.
    func deflate(_ body: ByteBuffer, room: Int) -> ByteBuffer? {
        var output = ByteBuffer()
        var status: CInt = 0
        unsafe output.writeWithUnsafeMutableBytes(minimumWritableBytes: room) { target in
            var left = room
            unsafe body.withUnsafeReadableBytes { input in
                var available = input.count
                status = unsafe weed_gzip_step(
                    stream, input.baseAddress, &available, target.baseAddress, &left)
            }
            return room - left
        }
        return status == CInt(WEED_GZIP_END) ? output : nil
    }
}

/// Learns the true size and the MD5 of an upload while its bytes go by; of what is inside if they
/// are gzip.
///
/// Bytes that claim to be gzip and are not count as they are. Used by one thread at a time.
struct UploadDigest: ~Copyable {
    /// Bytes inside a gzip body beyond which its true size is not looked for: time, not memory, is
    /// the bound.
    static let inflatedLimit: UInt64 = 1 << 30
    private static let windowBytes = 64 << 10

    private var plain: Insecure.MD5?
    private var inflated: Insecure.MD5?
    private var inflater: Inflater?
    private var plainSize: UInt64 = 0

    init(isGzip: Bool, needsMD5: Bool) {
        plain = needsMD5 ? Insecure.MD5() : nil
        inflated = needsMD5 && isGzip ? Insecure.MD5() : nil
        inflater = isGzip ? try? Inflater(nil) : nil
    }

    /// Takes the next bytes.
    mutating func update(_ piece: ByteBuffer) {
        plainSize += UInt64(piece.readableBytes)
        unsafe piece.withUnsafeReadableBytes { unsafe plain?.update(bufferPointer: $0) }
        guard let inflater else { return }
        inflater.feed(piece)
        while true {
            guard inflater.position <= UploadDigest.inflatedLimit,
                let part = try? inflater.next(limit: UploadDigest.windowBytes)
            else { return self.inflater = nil }
            guard part.readableBytes > 0 else { break }
            unsafe part.withUnsafeReadableBytes { unsafe inflated?.update(bufferPointer: $0) }
        }
        // Something behind the data is no gzip.
        if inflater.isStuck { self.inflater = nil }
    }

    /// The true size, and the MD5 in base64 if it was asked for.
    consuming func finish() -> (size: UInt64, md5: String?) {
        let isInflated = inflater?.isComplete ?? false
        let hash = isInflated ? inflated : plain
        let size = isInflated ? inflater?.position ?? plainSize : plainSize
        return (size, hash.map { Base64.encode($0.finalize()) })
    }
}

/// Base64 with padding, the standard alphabet.
enum Base64 {
    private static let alphabet = Array(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    static func encode(_ bytes: some Sequence<UInt8>) -> String {
        var text: [UInt8] = []
        var bits: UInt32 = 0
        var count = 0
        for byte in bytes {
            bits = bits << 8 | UInt32(byte)
            count += 1
            guard count == 3 else { continue }
            for shift in [18, 12, 6, 0] as [UInt32] {
                text.append(alphabet[Int(bits >> shift & 63)])
            }
            bits = 0
            count = 0
        }
        guard count > 0 else { return String(decoding: text, as: UTF8.self) }
        bits <<= count == 1 ? 16 : 8
        for shift in [18, 12, 6, 0][...count] {
            text.append(alphabet[Int(bits >> UInt32(shift) & 63)])
        }
        for _ in count..<3 { text.append(0x3d) }
        return String(decoding: text, as: UTF8.self)
    }
}
