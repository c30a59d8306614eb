internal import Model
internal import NIOCore
internal import Needles

extension ReadPlan {
    /// What is sent of a stored file: the bytes as they are, unpacked, or put together from chunks.
    struct Source {
        /// The bytes.
        let content: ReadContent
        /// They are gzip and said to be.
        var isGzip = false
        /// The manifest that describes them.
        var manifest: ChunkManifest?

        /// Finds out.
        ///
        /// `nil`: that takes a read thread, and `mayBlock` says this is none.
        init?(_ needle: StoredNeedle, id: FileID, _ ask: ReadRequest, mayBlock: Bool) throws {
            if needle.isChunkManifest, !(ask.query?.wantsManifest ?? false) {
                guard mayBlock else { return nil }
                if let manifest = try Source.manifest(in: needle, id: id) {
                    content = .chunks(manifest)
                    self.manifest = manifest
                    return
                }
            }
            guard needle.isCompressed else {
                content = ReadContent(needle.body)
                return
            }
            if case .file = needle.body, !mayBlock { return nil }
            let front = try needle.body.read(at: 0, count: 2)
            guard Inflater.isGzip(front.readableBytesUInt8Span) else {
                // The writer said gzip and sent something else: it gets back what it sent.
                content = ReadContent(needle.body)
                return
            }
            if ask.acceptsGzip {
                content = ReadContent(needle.body)
                isGzip = true
                return
            }
            guard let unpacked = try Source.unpack(needle.body, mayBlock: mayBlock) else {
                return nil
            }
            content = unpacked
        }

        /// The manifest that a file holds; `nil` if its bytes are none.
        private static func manifest(
            in needle: StoredNeedle, id: FileID
        ) throws -> ChunkManifest? {
            guard needle.body.length <= UInt64(ChunkManifest.maxBytes) else {
                throw ChunkManifestError.tooLarge(bytes: Int(clamping: needle.body.length))
            }
            var json = try needle.body.read(at: 0, count: ChunkManifest.maxBytes)
            if needle.isCompressed, Inflater.isGzip(json.readableBytesUInt8Span) {
                json = try Inflater(.bytes(json)).next(limit: ChunkManifest.maxBytes + 1)
            }
            return try ChunkManifest.parse(json, of: id)
        }

        private static func unpack(
            _ body: StoredNeedle.Body, mayBlock: Bool
        ) throws -> ReadContent? {
            if mayBlock {
                return switch try Inflater.measure(body, keep: heldBytes) {
                case .bytes(let bytes): .bytes(bytes)
                case .length(let length): .inflated(body, length: length)
                }
            }
            guard body.length <= UInt64(inlineStoredBytes) else { return nil }
            let bytes = try Inflater(body).next(limit: inlineUnpackedBytes + 1)
            return bytes.readableBytes <= inlineUnpackedBytes ? .bytes(bytes) : nil
        }
    }
}
