internal import Model
internal import NIOCore
internal import NIOPosix
internal import Needles

/// A chunk could not be read.
struct ChunkError: Error, Equatable, CustomStringConvertible {
    /// The status with which a server answered, or would answer, a request for the chunk.
    let status: Int
    /// Which chunk.
    let fileID: FileID
    /// What was wrong; empty when the status says it.
    var reason = ""

    /// The text that clients get.
    var description: String {
        "Read chunk needle error: [\(status)] \(fileID)" + (reason.isEmpty ? "" : ": \(reason)")
    }
}

/// Finds the chunks of large files.
protocol ChunkFetcher: Sendable {
    /// Prepares to read a chunk, its content unpacked. Called on the event loop; fails with
    /// `ChunkError`.
    func open(_ chunk: FileID, on loop: any EventLoop) -> EventLoopFuture<any ContentReader>
}

/// Reads chunks from the volumes of this server and asks another fetcher for the rest.
struct LocalChunkFetcher: ChunkFetcher {
    private let store: VolumeStore
    private let pool: NIOThreadPool
    private let remote: (any ChunkFetcher)?

    /// A fetcher; without `remote`, chunks of volumes that are not here are not found.
    init(store: VolumeStore, pool: NIOThreadPool, remote: (any ChunkFetcher)? = nil) {
        self.store = store
        self.pool = pool
        self.remote = remote
    }

    func open(_ chunk: FileID, on loop: any EventLoop) -> EventLoopFuture<any ContentReader> {
        guard let volume = store.volume(chunk.volume) else {
            return remote?.open(chunk, on: loop) ?? loop.makeFailedFuture(absence(of: chunk))
        }
        return pool.runIfActive(eventLoop: loop) { [pool] in
            try Self.open(chunk, in: volume, pool: pool)
        }.flatMapError { [remote] error in
            // Another holder may have a copy that is whole.
            guard let remote, volume.replication.copies > 1 else {
                return loop.makeFailedFuture(error)
            }
            return remote.open(chunk, on: loop).flatMapErrorThrowing { _ in throw error }
        }
    }

    /// Why a chunk's volume does not serve.
    ///
    /// Only one that is not here at all makes the chunk missing.
    private func absence(of chunk: FileID) -> ChunkError {
        switch store.lookup(chunk.volume) {
        case .absent: ChunkError(status: 404, fileID: chunk)
        case .open, .opening:
            ChunkError(status: 503, fileID: chunk, reason: "its volume is being opened, try again")
        case .failed(let reason):
            ChunkError(status: 500, fileID: chunk, reason: "its volume cannot be used: \(reason)")
        }
    }

    private static func open(
        _ chunk: FileID, in volume: Volume, pool: NIOThreadPool
    ) throws(ChunkError) -> any ContentReader {
        do {
            guard let needle = try volume.read(chunk.key, cookie: chunk.cookie) else {
                throw ChunkError(status: 404, fileID: chunk)
            }
            return try reader(of: needle, chunk, pool: pool)
        } catch let error as ChunkError {
            throw error
        } catch {
            throw ChunkError(status: 500, fileID: chunk, reason: "\(error)")
        }
    }

    /// A manifest is not followed into another: nobody writes them, and a circle of them has no
    /// end.
    private static func reader(
        of needle: StoredNeedle, _ chunk: FileID, pool: NIOThreadPool
    ) throws -> any ContentReader {
        guard !needle.isChunkManifest else {
            throw ChunkError(status: 500, fileID: chunk, reason: "the chunk is a manifest itself")
        }
        if needle.isCompressed {
            let front = try needle.body.read(at: 0, count: 2)
            if Inflater.isGzip(front.readableBytesUInt8Span) {
                return InflateReader(needle.body, pool: pool)
            }
        }
        return StoredReader(needle.body, pool: pool)
    }
}

/// Reads a file that is stored as chunks; one chunk is open at a time.
final class ChunkManifestReader: ContentReader, @unchecked Sendable {
    // `@unchecked`: `open` is touched on the event loop only, where `read` is called and its
    // futures end.
    private let manifest: ChunkManifest
    private let fetcher: any ChunkFetcher
    private var open: (index: Int, reader: any ContentReader)?

    /// A reader of the file that a manifest describes.
    init(_ manifest: ChunkManifest, fetcher: any ChunkFetcher) {
        self.manifest = manifest
        self.fetcher = fetcher
    }

    func read(at offset: UInt64, count: Int, on loop: any EventLoop) -> EventLoopFuture<ByteBuffer>
    {
        let index = manifest.index(endingBehind: offset)
        guard index < manifest.chunks.count else {
            return loop.makeFailedFuture(ContentEndedEarly(offset: offset))
        }
        let chunk = manifest.chunks[index]
        if offset < chunk.offset {
            let gap = Int(min(chunk.offset - offset, UInt64(count)))
            return loop.makeSucceededFuture(ByteBuffer(repeating: 0, count: gap))
        }
        let part = Int(min(chunk.end - offset, UInt64(count)))
        if let open, open.index == index {
            return read(chunk, open.reader, at: offset, count: part, on: loop)
        }
        open = nil
        return fetcher.open(chunk.fileID, on: loop).hop(to: loop).flatMap { [self] reader in
            open = (index, reader)
            return read(chunk, reader, at: offset, count: part, on: loop)
        }
    }

    private func read(
        _ chunk: ChunkManifest.Chunk, _ reader: any ContentReader, at offset: UInt64, count: Int,
        on loop: any EventLoop
    ) -> EventLoopFuture<ByteBuffer> {
        reader.read(at: offset - chunk.offset, count: count, on: loop).flatMapErrorThrowing {
            error in
            if error is ChunkError { throw error }
            throw ChunkError(status: 500, fileID: chunk.fileID, reason: "\(error)")
        }
    }
}
