internal import NIOCore
internal import NIOPosix
internal import Needles
import Synchronization

/// The bytes of a file as they are sent, wherever they are.
enum ReadContent: Sendable {
    /// In memory.
    case bytes(ByteBuffer)
    /// In the data file.
    case file(FileBody)
    /// Stored as gzip, sent unpacked, too large to unpack at once.
    case inflated(StoredNeedle.Body, length: UInt64)
    /// In chunks that are files themselves.
    case chunks(ChunkManifest)

    /// Bytes in the file.
    var length: UInt64 {
        switch self {
        case .bytes(let buffer): UInt64(buffer.readableBytes)
        case .file(let file): file.length
        case .inflated(_, let length): length
        case .chunks(let manifest): manifest.length
        }
    }

    /// The content of a body that is sent as it is stored.
    init(_ body: StoredNeedle.Body) {
        switch body {
        case .bytes(let buffer): self = .bytes(buffer)
        case .file(let file): self = .file(file)
        }
    }

    /// Bytes that a streamed body asks for at a time.
    ///
    /// Measured over loopback with 64 MB files, GB a second: 64 KiB 2.0, 128 KiB 1.4 to 2.7, 160 KiB
    /// 2.8, 256 KiB 1.8, 2 MiB 2.2; `sendfile` 1.5.
    static let pieceBytes = 160 << 10
}

/// Hands out parts of a file.
///
/// One read at a time, called on an event loop.
protocol ContentReader: AnyObject, Sendable {
    /// Between 1 and `count` bytes from `offset`; the caller stays inside of the content.
    func read(at offset: UInt64, count: Int, on loop: any EventLoop) -> EventLoopFuture<ByteBuffer>
}

extension ReadContent {
    /// A reader of this content.
    func makeReader(_ context: ReadContext) -> any ContentReader {
        switch self {
        case .bytes(let buffer): StoredReader(.bytes(buffer), pool: context.pool)
        case .file(let file): StoredReader(.file(file), pool: context.pool)
        case .inflated(let body, _): InflateReader(body, pool: context.pool)
        case .chunks(let manifest): ChunkManifestReader(manifest, fetcher: context.chunks)
        }
    }
}

/// The content ended before its announced length.
struct ContentEndedEarly: Error, CustomStringConvertible {
    /// Where it ended.
    let offset: UInt64
    /// What happened.
    var description: String { "content ends at byte \(offset), before its announced length" }
}

/// Reads stored bytes as they are.
///
/// What memory holds is read on the event loop, the rest on a thread that may wait for the disk.
/// (`sendfile` saves a copy, but waits for the disk on the event loop, and over loopback it is
/// slower.)
final class StoredReader: ContentReader {
    private let body: StoredNeedle.Body
    private let pool: NIOThreadPool
    /// The piece before, used again once it has been sent.
    private let piece = Mutex(ByteBuffer())

    /// A reader of a body; reads from the file are made on `pool`.
    init(_ body: StoredNeedle.Body, pool: NIOThreadPool) {
        self.body = body
        self.pool = pool
    }

    func read(at offset: UInt64, count: Int, on loop: any EventLoop) -> EventLoopFuture<ByteBuffer>
    {
        switch body {
        case .bytes:
            return loop.makeCompletedFuture {
                try check(body.read(at: offset, count: count), offset)
            }
        case .file(let file):
            do {
                if let bytes = try cached(file, at: offset, count: count) {
                    return loop.makeSucceededFuture(bytes)
                }
            } catch {
                return loop.makeFailedFuture(error)
            }
        }
        return pool.runIfActive(eventLoop: loop) { [self] in
            try check(body.read(at: offset, count: count), offset)
        }
    }

    private func cached(
        _ file: FileBody, at offset: UInt64, count: Int
    ) throws(NeedleError) -> ByteBuffer? {
        var bytes = piece.withLock { piece in
            defer { piece = ByteBuffer() }
            return piece
        }
        bytes.clear(minimumCapacity: count)
        guard try file.readCached(into: &bytes, at: offset, count: count) else { return nil }
        let kept = bytes
        piece.withLock { $0 = kept }
        return bytes
    }

    private func check(_ bytes: ByteBuffer, _ offset: UInt64) throws -> ByteBuffer {
        guard bytes.readableBytes > 0 else { throw ContentEndedEarly(offset: offset) }
        return bytes
    }
}

/// Reads gzip data unpacked.
///
/// Going forward is cheap, going back starts again at the front.
final class InflateReader: ContentReader, @unchecked Sendable {
    // `@unchecked`: `inflater` is touched inside of `read`'s pool calls only, and these never
    // overlap, because a reader is asked for one read at a time.
    private let body: StoredNeedle.Body
    private let pool: NIOThreadPool
    private var inflater: Inflater?

    /// A reader of a gzip body.
    init(_ body: StoredNeedle.Body, pool: NIOThreadPool) {
        self.body = body
        self.pool = pool
    }

    func read(at offset: UInt64, count: Int, on loop: any EventLoop) -> EventLoopFuture<ByteBuffer>
    {
        pool.runIfActive(eventLoop: loop) { [self] in try inflate(from: offset, count: count) }
    }

    private func inflate(from offset: UInt64, count: Int) throws -> ByteBuffer {
        var current: Inflater
        if let inflater, inflater.position <= offset {
            current = inflater
        } else {
            current = try Inflater(body)
            inflater = current
        }
        while current.position < offset {
            let skip = Int(min(offset - current.position, UInt64(ReadContent.pieceBytes)))
            guard try current.next(limit: skip).readableBytes > 0 else {
                throw ContentEndedEarly(offset: current.position)
            }
        }
        let bytes = try current.next(limit: count)
        guard bytes.readableBytes > 0 else { throw ContentEndedEarly(offset: current.position) }
        return bytes
    }
}
