import CGzip
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

    /// `nil`: the data is handed in with `feed`.
    private let source: StoredNeedle.Body?
    private let stream: OpaquePointer
    private var input = ByteBuffer()
    /// How much of the source was taken as input.
    private var taken: UInt64 = 0
    private var isBetweenMembers = false
    private var isAtEnd = false
    /// Bytes unpacked so far.
    private(set) var position: UInt64 = 0

    /// Starts at the front of stored bytes, or of those that `feed` will bring.
    init(_ source: StoredNeedle.Body?) throws(InflateError) {
        self.source = source
        guard let stream = unsafe weed_gzip_make(1) else { throw .noMemory }
        unsafe self.stream = stream
    }

    deinit { unsafe weed_gzip_free(stream) }

    /// Whether data looks like gzip.
    ///
    /// Flagged data that does not was never compressed.
    static func isGzip(_ bytes: Span<UInt8>) -> Bool {
        bytes.count >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b
    }

    /// Hands in the next piece of data, once the one before it is used up.
    func feed(_ piece: ByteBuffer) {
        input = piece
        taken += UInt64(piece.readableBytes)
    }

    /// Whether the data so far ends exactly where a gzip member ends.
    var isComplete: Bool { isBetweenMembers && input.readableBytes == 0 }

    /// Whether what follows a member is no gzip.
    var isStuck: Bool { input.readableBytes > 0 }

    /// The next bytes, at most `limit`; fewer only at the end, none behind it.
    ///
    /// Of data that is handed in, what there is so far.
    ///
    /// May block.
    func next(limit: Int) throws -> ByteBuffer {
        var output = ByteBufferAllocator().buffer(capacity: min(limit, 64 << 10))
        while output.readableBytes < limit, !isAtEnd {
            if input.readableBytes == 0 { try refill() }
            guard input.readableBytes > 0 else {
                if isBetweenMembers || source == nil { break }
                throw InflateError.truncated(at: taken)
            }
            if isBetweenMembers, try !startMember() { break }
            try step(into: &output, limit: limit)
        }
        if output.readableBytes < limit, source != nil { isAtEnd = true }
        position += UInt64(output.readableBytes)
        return output
    }

    private func refill() throws(NeedleError) {
        guard let source else { return }
        input = try source.read(at: taken, count: Inflater.inputBytes)
        taken += UInt64(input.readableBytes)
    }

    /// Gzip files may be joined end to end.
    ///
    /// Whatever else follows a member is no data and ignored.
    private func startMember() throws(InflateError) -> Bool {
        guard input.getInteger(at: input.readerIndex, as: UInt8.self) == 0x1f else { return false }
        let code = unsafe weed_gzip_reset(stream)
        guard code == CInt(WEED_GZIP_OK) else { throw .broken(code: code, at: offset) }
        isBetweenMembers = false
        return true
    }

    /// Where in the stored data zlib stands.
    private var offset: UInt64 { taken - UInt64(input.readableBytes) }

    private func step(into output: inout ByteBuffer, limit: Int) throws(InflateError) {
        let room = min(limit - output.readableBytes, 64 << 10)
        let available = input.readableBytes
        var code: CInt = 0
        unsafe output.writeWithUnsafeMutableBytes(minimumWritableBytes: room) { space in
            var left = min(space.count, room)
            let size = left
            unsafe input.readWithUnsafeMutableReadableBytes { bytes in
                var rest = bytes.count
                code = unsafe weed_gzip_step(
                    stream, bytes.baseAddress, &rest, space.baseAddress, &left)
                return bytes.count - rest
            }
            return size - left
        }
        switch code {
        case CInt(WEED_GZIP_OK): return
        case CInt(WEED_GZIP_END): isBetweenMembers = true
        // No progress for want of input is no fault: the next round brings more.
        case CInt(WEED_GZIP_STALLED) where input.readableBytes == 0 && available > 0: return
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
