import CZlib
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

    // zlib keeps a pointer to the stream inside of its state, so it must not move.
    private let stream: UnsafeMutablePointer<z_stream>

    private init?() {
        unsafe stream = .allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
        let gzipWindow: CInt = 15 + 16
        guard unsafe weed_deflate_init(stream, Z_BEST_SPEED, gzipWindow) == Z_OK else { return nil }
    }

    deinit {
        unsafe deflateEnd(stream)
        unsafe stream.deallocate()
    }

    /// One that nobody uses; `nil` without memory.
    static func take() -> Deflater? { idle.withLock { $0.popLast() } ?? Deflater() }

    /// Keeps it for the next body.
    func giveBack() {
        unsafe deflateReset(stream)
        Deflater.idle.withLock { if $0.count < Deflater.idleLimit { $0.append(self) } }
    }

    /// The gzip form of `body` if it takes at most `room` bytes.
    func deflate(_ body: ByteBuffer, room: Int) -> ByteBuffer? {
        var output = ByteBuffer()
        var status = Z_ERRNO
        unsafe output.writeWithUnsafeMutableBytes(minimumWritableBytes: room) { target in
            unsafe body.withUnsafeReadableBytes { input in
                // zlib only reads its input, though its interface does not say so.
                unsafe stream.pointee.next_in = UnsafeMutablePointer(
                    mutating: input.bindMemory(to: Bytef.self).baseAddress)
                unsafe stream.pointee.avail_in = uInt(input.count)
                unsafe stream.pointee.next_out = target.bindMemory(to: Bytef.self).baseAddress
                unsafe stream.pointee.avail_out = uInt(room)
                status = unsafe CZlib.deflate(stream, Z_FINISH)
            }
            return unsafe room - Int(stream.pointee.avail_out)
        }
        return status == Z_STREAM_END ? output : nil
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
    private var inflater: InflateStream?
    private var plainSize: UInt64 = 0
    private var inflatedSize: UInt64 = 0

    init(isGzip: Bool, needsMD5: Bool) {
        plain = needsMD5 ? Insecure.MD5() : nil
        inflated = needsMD5 && isGzip ? Insecure.MD5() : nil
        inflater = isGzip ? InflateStream() : nil
    }

    /// Takes the next bytes.
    mutating func update(_ piece: ByteBuffer) {
        plainSize += UInt64(piece.readableBytes)
        unsafe piece.withUnsafeReadableBytes { unsafe plain?.update(bufferPointer: $0) }
        guard inflater != nil else { return }
        var size = inflatedSize
        var hash = inflated
        inflated = nil
        let isIntact = unsafe inflater?.feed(piece) { bytes in
            size += UInt64(bytes.count)
            unsafe hash?.update(bufferPointer: bytes)
            return size <= UploadDigest.inflatedLimit
        }
        inflatedSize = size
        inflated = hash
        if isIntact != true { inflater = nil }
    }

    /// The true size, and the MD5 in base64 if it was asked for.
    consuming func finish() -> (size: UInt64, md5: String?) {
        let isInflated = inflater?.isComplete ?? false
        let hash = isInflated ? inflated : plain
        let size = isInflated ? inflatedSize : plainSize
        return (size, hash.map { Base64.encode($0.finalize()) })
    }
}

/// A zlib stream that inflates gzip, several members included.
@safe struct InflateStream: ~Copyable {
    private static let outputBytes = 64 << 10
    private let stream: UnsafeMutablePointer<z_stream>
    /// Whether the input so far ends exactly where a gzip member ends.
    private(set) var isComplete = false

    init?() {
        unsafe stream = .allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
        let gzipWindow: CInt = 15 + 16
        guard unsafe weed_inflate_init(stream, gzipWindow) == Z_OK else {
            unsafe stream.deallocate()
            return nil
        }
    }

    deinit {
        unsafe inflateEnd(stream)
        unsafe stream.deallocate()
    }

    /// Inflates `piece` and hands out what is inside; `false` when the bytes are not gzip or `body`
    /// said to stop by returning `false`.
    mutating func feed(
        _ piece: ByteBuffer, _ body: (UnsafeRawBufferPointer) -> Bool
    ) -> Bool {
        guard piece.readableBytes > 0 else { return true }
        var isIntact = true
        var isDone = isComplete
        unsafe withUnsafeTemporaryAllocation(byteCount: InflateStream.outputBytes, alignment: 1) {
            out in
            unsafe piece.withUnsafeReadableBytes { input in
                unsafe stream.pointee.next_in = UnsafeMutablePointer(
                    mutating: input.bindMemory(to: Bytef.self).baseAddress)
                unsafe stream.pointee.avail_in = uInt(input.count)
                while isIntact {
                    if isDone {
                        guard unsafe stream.pointee.avail_in > 0 else { return }
                        unsafe inflateReset(stream)
                        isDone = false
                    }
                    unsafe stream.pointee.next_out = out.bindMemory(to: Bytef.self).baseAddress
                    unsafe stream.pointee.avail_out = uInt(InflateStream.outputBytes)
                    let status = unsafe inflate(stream, Z_NO_FLUSH)
                    guard status == Z_OK || status == Z_STREAM_END || status == Z_BUF_ERROR else {
                        isIntact = false
                        return
                    }
                    let made = unsafe InflateStream.outputBytes - Int(stream.pointee.avail_out)
                    if made > 0 {
                        isIntact = unsafe body(UnsafeRawBufferPointer(rebasing: out[..<made]))
                    }
                    isDone = status == Z_STREAM_END
                    if !isDone, made == 0 { return }
                }
            }
        }
        isComplete = isDone
        return isIntact
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
