public import Model
public import NIOCore

/// What to store under a file id.
public struct NeedleContent: Sendable {
    /// Where the bytes to store are.
    public enum Body: Sendable {
        /// In memory.
        case bytes(ByteBuffer)
        /// In a file beside the volumes, for bodies too large to hold.
        case spool(Spool)

        /// Its length in bytes.
        public var length: UInt64 {
            switch self {
            case .bytes(let buffer): UInt64(buffer.readableBytes)
            case .spool(let spool): spool.length
            }
        }
    }

    /// The bytes as stored: compressed ones if `isCompressed`.
    public var body: Body
    /// The data is gzip.
    public var isCompressed = false
    /// The data is a chunk manifest.
    public var isChunkManifest = false
    /// File name, at most 255 bytes; longer ones are dropped.
    public var name: String?
    /// Content type, at most 255 bytes; longer ones are dropped.
    public var mime: String?
    /// Unix seconds; `nil` is now.
    public var lastModified: UInt64?
    /// Its own time to live; `none` takes the volume's.
    public var ttl: TimeToLive = .none
    /// JSON object of strings, below 64 KiB; larger ones are dropped.
    public var pairs: String?

    /// Content with a body and nothing else.
    public init(body: Body) {
        self.body = body
    }
}

/// A needle as read back, its checksum verified.
public struct StoredNeedle: Sendable {
    /// Where the data is.
    public enum Body: Sendable {
        /// Verified bytes in memory.
        case bytes(ByteBuffer)
        /// Verified bytes in the data file; see ``Volume/largeBodyBytes``.
        case file(FileBody)
    }
    /// The key.
    public let id: NeedleKey
    /// The cookie.
    public let cookie: UInt32
    /// The size field S of the record, as deletes report it.
    public let recordSize: UInt32
    /// The data as stored.
    public let body: Body
    /// Whether the data is gzip.
    public let isCompressed: Bool
    /// Whether the data is a chunk manifest.
    public let isChunkManifest: Bool
    /// The stored file name.
    public let name: ByteBuffer?
    /// The stored content type.
    public let mime: ByteBuffer?
    /// Unix seconds.
    public let lastModified: UInt64?
    /// Its time to live.
    public let ttl: TimeToLive
    /// JSON object of strings.
    public let pairs: ByteBuffer?
    /// CRC-32C of the stored data: the ETag.
    public let checksum: UInt32
    /// When it was appended, unix nanoseconds; 0 before format version 3.
    public let appendedAtNanoseconds: UInt64

    /// Bytes of data as stored.
    public var length: UInt64 {
        switch body {
        case .bytes(let buffer): UInt64(buffer.readableBytes)
        case .file(let file): file.length
        }
    }
}

/// What a look-up without blocking found.
public enum ReadOutcome: Sendable {
    /// The needle.
    case found(StoredNeedle)
    /// Unknown, deleted, expired, or another cookie.
    case notFound
    /// Not in memory: call `read` on a thread that may block.
    case wouldBlock
}

/// A write that is as durable as was asked.
public struct WriteReceipt: Sendable, Equatable {
    /// The size field S of the record.
    public let recordSize: UInt32
    /// CRC-32C of the stored data.
    public let checksum: UInt32
    /// The same needle was there already, nothing was written.
    public let isUnchanged: Bool
}
