internal import FoundationEssentials
internal import Model
internal import NIOCore

/// A large file stored as chunks: which files they are and where each begins.
///
/// `{"name":"big.bin","mime":"x/y","size":20,"chunks":[{"fid":"42,70…","offset":0,"size":11}]}`
struct ChunkManifest: Sendable, Equatable {
    /// One chunk.
    struct Chunk: Sendable, Equatable {
        /// Which file it is.
        let fileID: FileID
        /// Where it begins.
        let offset: UInt64
        /// Its bytes.
        let size: UInt64
        /// Where it ends.
        var end: UInt64 { offset + size }
    }

    /// The name of the whole; may be empty.
    let name: String
    /// The type of the whole; may be empty.
    let mime: String
    /// Non-empty chunks by offset; none overlaps the next.
    ///
    /// What lies between two reads as zeros.
    let chunks: [Chunk]
    /// Bytes of the whole: where the last chunk ends.
    let length: UInt64

    /// Chunks in one manifest.
    static let maxChunks = 1_000_000
    /// Bytes of one manifest, unpacked.
    static let maxBytes = 64 << 20
    /// Bytes of a whole file: 64 TiB.
    static let maxLength: UInt64 = 1 << 46

    /// Reads a manifest.
    ///
    /// - Returns: `nil` if the bytes are no manifest at all; they are then served as they are.
    /// - Throws: `ChunkManifestError` if they are one that cannot be followed.
    static func parse(_ json: ByteBuffer, of id: FileID) throws(ChunkManifestError)
        -> ChunkManifest?
    {
        guard json.readableBytes <= maxBytes else { throw .tooLarge(bytes: json.readableBytes) }
        let data = unsafe json.withUnsafeReadableBytes { unsafe Data($0) }
        guard let wire = try? JSONDecoder().decode(WireManifest?.self, from: data) else {
            return data.elementsEqual("null".utf8) ? try ChunkManifest(WireManifest(), of: id) : nil
        }
        return try ChunkManifest(wire, of: id)
    }

    private init(_ wire: WireManifest, of id: FileID) throws(ChunkManifestError) {
        let list = wire.chunks ?? []
        guard list.count <= ChunkManifest.maxChunks else { throw .tooMany(list.count) }
        var chunks: [Chunk] = []
        chunks.reserveCapacity(list.count)
        for (i, item) in list.enumerated() {
            let chunk = try ChunkManifest.chunk(item, at: i)
            if chunk.fileID.volume == id.volume, chunk.fileID.key == id.key { throw .cycle(id) }
            if chunk.size > 0 { chunks.append(chunk) }
        }
        chunks.sort { $0.offset < $1.offset }
        for (i, chunk) in chunks.enumerated().dropFirst() where chunk.offset < chunks[i - 1].end {
            throw .overlap(chunk.fileID, chunks[i - 1].fileID)
        }
        self.name = wire.name ?? ""
        self.mime = wire.mime ?? ""
        self.chunks = chunks
        self.length = chunks.last?.end ?? 0
    }

    private static func chunk(_ wire: WireChunk, at i: Int) throws(ChunkManifestError) -> Chunk {
        guard let id = try? FileID(wire.fid ?? "") else { throw .badFileID(i, wire.fid ?? "") }
        guard let offset = UInt64(exactly: wire.offset ?? 0),
            let size = UInt64(exactly: wire.size ?? 0),
            offset <= maxLength, size <= maxLength - offset
        else { throw .badPlace(i, offset: wire.offset ?? 0, size: wire.size ?? 0) }
        return Chunk(fileID: id, offset: offset, size: size)
    }

    /// The index of the first chunk that ends behind an offset; the number of chunks if none does.
    func index(endingBehind offset: UInt64) -> Int {
        var low = 0
        var high = chunks.count
        while low < high {
            let middle = low + (high - low) / 2
            if chunks[middle].end > offset { high = middle } else { low = middle + 1 }
        }
        return low
    }
}

/// Why a manifest cannot be followed.
enum ChunkManifestError: Error, Equatable, CustomStringConvertible {
    case tooLarge(bytes: Int)
    case tooMany(Int)
    case badFileID(Int, String)
    case badPlace(Int, offset: Int64, size: Int64)
    case overlap(FileID, FileID)
    case cycle(FileID)

    /// What is wrong with the manifest; part of the answer.
    var description: String {
        switch self {
        case .tooLarge(let bytes):
            "chunk manifest of \(bytes) bytes, at most \(ChunkManifest.maxBytes) can be read"
        case .tooMany(let count):
            "chunk manifest with \(count) chunks, at most \(ChunkManifest.maxChunks) can be read"
        case .badFileID(let i, let text):
            "chunk \(i) of the manifest has no valid fid: \(text.prefix(64))"
        case .badPlace(let i, let offset, let size):
            "chunk \(i) of the manifest has offset \(offset) and size \(size), expected 0 to "
                + "\(ChunkManifest.maxLength)"
        case .overlap(let later, let earlier):
            "chunk \(later) of the manifest begins inside of chunk \(earlier)"
        case .cycle(let id): "chunk manifest \(id) names itself as a chunk"
        }
    }
}

/// The manifest as it is written; every field may be missing.
private struct WireManifest: Decodable {
    var name: String?
    var mime: String?
    var chunks: [WireChunk]?
}

private struct WireChunk: Decodable {
    var fid: String?
    var offset: Int64?
    var size: Int64?
}
