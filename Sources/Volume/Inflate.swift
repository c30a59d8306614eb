import CZlib
internal import NIOCore
internal import Needles

/// Why gzip data cannot be unpacked.
enum InflateError: Error, Equatable, CustomStringConvertible {
    /// zlib refused the bytes; its code, and where in the stored data it stood.
    case broken(code: CInt, at: UInt64)
    /// The data ends inside a gzip member.
    case truncated(at: UInt64)
    /// It unpacks to more than a server should work through for one request.
    case tooLarge(limit: UInt64)
    /// zlib could not allocate its state.
    case noMemory

    /// What is wrong with the data, for the log.
    var description: String {
        switch self {
        case .broken(let code, let offset):
            "gzip data is broken at byte \(offset) (zlib \(code)); "
                + "fetch it with Accept-Encoding: gzip"
        case .truncated(let offset):
            "gzip data ends at byte \(offset) inside a member; fetch it with Accept-Encoding: gzip"
        case .tooLarge(let limit):
            "gzip data unpacks to more than \(limit) bytes; fetch it with Accept-Encoding: gzip"
        case .noMemory: "no memory to unpack gzip data; try again"
        }
    }
}

extension StoredNeedle.Body {
    /// Bytes in the body.
    var length: UInt64 {
        switch self {
        case .bytes(let buffer): UInt64(buffer.readableBytes)
        case .file(let file): file.length
        }
    }

    /// Part of the body, cut at its end.
    ///
    /// Blocks when the body is in the file.
    func read(at offset: UInt64, count: Int) throws(NeedleError) -> ByteBuffer {
        guard offset < length else { return ByteBuffer() }
        let count = Int(min(UInt64(count), length - offset))
        switch self {
        case .bytes(let buffer):
            return buffer.getSlice(at: buffer.readerIndex + Int(offset), length: count)
                ?? ByteBuffer()
        case .file(let file): return try file.read(at: offset, count: count)
        }
    }
}

/// Unpacks gzip data piece by piece: memory does not grow with the data.
///
/// Used by one thread at a time.
@safe final class Inflater {
    /// Stored bytes read at a time.
    static let inputBytes = 64 << 10

    private let source: StoredNeedle.Body
    // zlib keeps a pointer to the stream inside of its state, so it must not move.
    private let stream: UnsafeMutablePointer<z_stream>
    private var input = ByteBuffer()
    /// How much of the source was taken as input.
    private var taken: UInt64 = 0
    private var isBetweenMembers = false
    private var isAtEnd = false
    /// Bytes unpacked so far.
    private(set) var position: UInt64 = 0

    /// Starts at the front of stored bytes.
    init(_ source: StoredNeedle.Body) throws(InflateError) {
        self.source = source
        unsafe stream = .allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
        // 15 bits of window, the largest; 16 more expect the header of gzip.
        guard unsafe weed_inflate_init(stream, 15 + 16) == Z_OK else { throw .noMemory }
    }

    deinit {
        unsafe inflateEnd(stream)
        unsafe stream.deinitialize(count: 1)
        unsafe stream.deallocate()
    }

    /// Whether data looks like gzip.
    ///
    /// Flagged data that does not was never compressed.
    static func isGzip(_ bytes: Span<UInt8>) -> Bool {
        bytes.count >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b
    }

    /// The next bytes, at most `limit`; fewer only at the end, none behind it.
    ///
    /// May block.
    func next(limit: Int) throws -> ByteBuffer {
        var output = ByteBufferAllocator().buffer(capacity: min(limit, 64 << 10))
        while output.readableBytes < limit, !isAtEnd {
            if input.readableBytes == 0 { try refill() }
            guard input.readableBytes > 0 else {
                if isBetweenMembers { break }
                throw InflateError.truncated(at: taken)
            }
            if isBetweenMembers, try !startMember() { break }
            try step(into: &output, limit: limit)
        }
        if output.readableBytes < limit { isAtEnd = true }
        position += UInt64(output.readableBytes)
        return output
    }

    private func refill() throws(NeedleError) {
        input = try source.read(at: taken, count: Inflater.inputBytes)
        taken += UInt64(input.readableBytes)
    }

    /// Gzip files may be joined end to end.
    ///
    /// Whatever else follows a member is no data and ignored.
    private func startMember() throws(InflateError) -> Bool {
        guard input.getInteger(at: input.readerIndex, as: UInt8.self) == 0x1f else { return false }
        let code = unsafe inflateReset(stream)
        guard code == Z_OK else { throw .broken(code: code, at: offset) }
        isBetweenMembers = false
        return true
    }

    /// Where in the stored data zlib stands.
    private var offset: UInt64 { taken - UInt64(input.readableBytes) }

    private func step(into output: inout ByteBuffer, limit: Int) throws(InflateError) {
        let room = min(limit - output.readableBytes, 64 << 10)
        let available = input.readableBytes
        var code = Z_OK
        unsafe output.writeWithUnsafeMutableBytes(minimumWritableBytes: room) { space in
            let size = min(space.count, room)
            unsafe input.readWithUnsafeMutableReadableBytes { bytes in
                unsafe stream.pointee.next_in = bytes.baseAddress?.assumingMemoryBound(
                    to: UInt8.self)
                unsafe stream.pointee.avail_in = uInt(bytes.count)
                unsafe stream.pointee.next_out = space.baseAddress?.assumingMemoryBound(
                    to: UInt8.self)
                unsafe stream.pointee.avail_out = uInt(size)
                code = unsafe inflate(stream, Z_NO_FLUSH)
                return unsafe bytes.count - Int(stream.pointee.avail_in)
            }
            return unsafe size - Int(stream.pointee.avail_out)
        }
        switch code {
        case Z_OK: return
        case Z_STREAM_END: isBetweenMembers = true
        // No progress for want of input is no fault: the next round brings more.
        case Z_BUF_ERROR where input.readableBytes == 0 && available > 0: return
        default: throw .broken(code: code, at: offset)
        }
    }
}

extension Inflater {
    /// What unpacking stored bytes yields.
    enum Whole {
        /// Everything, in memory.
        case bytes(ByteBuffer)
        /// More than fits; how much.
        case length(UInt64)
    }

    /// Bytes that are unpacked for one request, so that a few stored ones cannot keep a thread for
    /// hours.
    static let maxBytes: UInt64 = 8 << 30

    /// Unpacks everything once: what is at most `limit` is kept, beyond that only counted.
    ///
    /// So the length is known, and the data known to be sound, before an answer begins. Blocks.
    static func measure(_ source: StoredNeedle.Body, keep limit: Int) throws -> Whole {
        let inflater = try Inflater(source)
        let front = try inflater.next(limit: limit + 1)
        if front.readableBytes <= limit { return .bytes(front) }
        while try inflater.next(limit: 256 << 10).readableBytes > 0 {
            guard inflater.position <= maxBytes else {
                throw InflateError.tooLarge(limit: maxBytes)
            }
        }
        return .length(inflater.position)
    }
}
