import FoundationEssentials
import Model
import NIOCore
import NIOPosix
import Needles

/// Why the chunks of a manifest could not be deleted.
enum ChunkDeletionError: Error, Sendable, Equatable, CustomStringConvertible {
    case manifest(String)
    case chunk(String)

    /// The message as clients know it.
    var description: String {
        switch self {
        case .manifest(let text): "Load chunks manifest error: \(text)"
        case .chunk(let text): "Delete chunks error: \(text)"
        }
    }
}

/// Deletes chunks wherever they are.
protocol ChunkResolver: Sendable {
    /// Deletes a chunk; one that is gone already counts as deleted.
    func delete(_ chunk: FileID) async throws(ChunkDeletionError)
}

/// Deletes chunks here and on other servers.
struct ChunksAnywhere: ChunkResolver {
    let service: VolumeService

    func delete(_ chunk: FileID) async throws(ChunkDeletionError) {
        switch await service.deleteAnywhere(chunk) {
        case .success, .failure(.local(.notFound)): return
        case .failure(.local(.noVolume)):
            let place = service.master == nil ? "not on this server" : "on no server"
            throw .chunk("chunk \(chunk): volume \(chunk.volume) is \(place)")
        case .failure(let error): throw .chunk("chunk \(chunk): \(error)")
        }
    }
}

/// Deletes the chunks that a manifest names.
enum ManifestDeletion {
    /// Bytes of a manifest, inside its compression; larger ones are not read.
    static let manifestLimit = 64 << 20
    /// Chunks being deleted at a time.
    static let width = 16

    private struct Manifest: Decodable {
        struct Chunk: Decodable {
            var fid: String
        }
        var size: UInt64?
        var chunks: [Chunk]?
    }

    /// Deletes every chunk; returns the size that the manifest tells of the whole file.
    static func run(
        _ needle: StoredNeedle, pool: NIOThreadPool, chunks resolver: some ChunkResolver
    ) async -> Result<UInt64, ChunkDeletionError> {
        do {
            let parsed = try await pool.runIfActive { try parse(needle) }
            try await delete(parsed.chunks, resolver)
            return .success(parsed.size)
        } catch let error as ChunkDeletionError {
            return .failure(error)
        } catch {
            return .failure(.manifest("\(error)"))
        }
    }

    private static func delete(_ ids: [FileID], _ resolver: some ChunkResolver) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (index, id) in ids.enumerated() {
                if index >= width { try await group.next() }
                group.addTask { try await resolver.delete(id) }
            }
            try await group.waitForAll()
        }
    }

    /// Reads a manifest; every id is checked before the first chunk is touched.
    ///
    /// Blocks.
    static func parse(_ needle: StoredNeedle) throws -> (size: UInt64, chunks: [FileID]) {
        let bytes = try content(of: needle)
        let manifest: Manifest
        do {
            manifest = try JSONDecoder().decode(Manifest.self, from: Data(bytes.readableBytesView))
        } catch {
            throw ChunkDeletionError.manifest("invalid JSON")
        }
        let ids = try (manifest.chunks ?? []).map { chunk in
            do {
                return try FileID(chunk.fid)
            } catch {
                throw ChunkDeletionError.chunk("chunk \(chunk.fid): \(error)")
            }
        }
        return (manifest.size ?? 0, ids)
    }

    private static func content(of needle: StoredNeedle) throws -> ByteBuffer {
        let stored: ByteBuffer
        switch needle.body {
        case .bytes(let bytes): stored = bytes
        case .file(let file):
            guard file.length <= UInt64(manifestLimit) else { throw tooLarge }
            stored = try file.read(at: 0, count: Int(file.length))
        }
        guard needle.isCompressed else { return stored }
        let plain: ByteBuffer
        do {
            plain = try Inflater(.bytes(stored)).next(limit: manifestLimit + 1)
        } catch {
            throw ChunkDeletionError.manifest("the manifest is marked as gzip and is none")
        }
        guard plain.readableBytes <= manifestLimit else { throw tooLarge }
        return plain
    }

    private static let tooLarge = ChunkDeletionError.manifest("larger than \(manifestLimit) bytes")
}
