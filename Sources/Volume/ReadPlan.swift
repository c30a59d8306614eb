import HTTPServer
internal import Model
internal import NIOCore
internal import Needles

/// Decides how a file that was found is answered.
enum ReadPlan {
    /// Stored gzip data up to this size is unpacked on the event loop: it takes microseconds.
    static let inlineStoredBytes = 16 << 10
    /// Unpacked data up to this size is made on the event loop; more is started again on a read
    /// thread.
    static let inlineUnpackedBytes = 128 << 10
    /// Unpacked data up to this size is held in memory; more is unpacked twice, piece by piece.
    static let heldBytes = 1 << 20

    /// The answer for a file.
    ///
    /// `nil`: it takes blocking or much work; ask again on a read thread with `mayBlock`.
    ///
    /// - Throws: `InflateError`, `ChunkManifestError` or `NeedleError` when the file is unreadable.
    static func answer(
        for needle: StoredNeedle, id: FileID, _ ask: ReadRequest, mayBlock: Bool
    ) throws -> ReadAnswer? {
        let isEmpty = needle.body.length == 0
        let checksum = isEmpty ? 0 : needle.checksum
        let lastModified = needle.lastModified == 0 ? nil : needle.lastModified
        if ask.ifModifiedSince != nil || ask.ifNoneMatch != nil,
            ConditionalRequest.isNotModified(
                ifModifiedSince: ask.ifModifiedSince, ifNoneMatch: ask.ifNoneMatch,
                lastModified: lastModified, checksum: checksum)
        {
            var answer = ReadAnswer()
            answer.status = 304
            answer.lastModified = lastModified
            return answer
        }
        guard let source = try Source(needle, id: id, ask, mayBlock: mayBlock) else { return nil }
        var answer = ReadAnswer()
        answer.checksum = checksum
        answer.lastModified = lastModified
        answer.acceptsRanges = true
        describe(needle, source, ask, in: &answer)
        choose(source.content, ask, in: &answer)
        return answer
    }

    /// Type, name, encoding and the headers that writers and clients add.
    private static func describe(
        _ needle: StoredNeedle, _ source: Source, _ ask: ReadRequest, in answer: inout ReadAnswer
    ) {
        var name = HeaderText(ask.name)
        var mime: HeaderText
        if let manifest = source.manifest {
            answer.isChunked = true
            if name.isNone { name = HeaderText(manifest.name) }
            mime = HeaderText(manifest.mime)
        } else {
            if name.isNone { name = HeaderText(needle.name) }
            mime = HeaderText(needle.mime)
        }
        if mime.withSpan(ContentType.isOpaque) { mime = .none }
        if mime.isNone, let implied = name.withSpan(ContentType.forName) { mime = .text(implied) }
        answer.contentType = mime
        if !name.isNone {
            answer.naming = .named(name, isAttachment: ask.query?.isDownload ?? false)
        }
        if source.isGzip { answer.encoding = .text("gzip") }
        if needle.pairs != nil { apply(ReadPairs.parse(needle.pairs), ask, to: &answer) }
        if let query = ask.query, !query.overrides.isEmpty { apply(query.overrides, to: &answer) }
    }

    /// Stored headers come first: what the server knows of type and encoding replaces them, a
    /// stored disposition stays.
    private static func apply(
        _ pairs: [(name: String, value: String)], _ ask: ReadRequest, to answer: inout ReadAnswer
    ) {
        for pair in pairs {
            switch pair.name.lowercased() {
            case "content-type":
                if answer.contentType.isNone { answer.contentType = .text(pair.value) }
            case "content-encoding":
                if answer.encoding.isNone { answer.encoding = .text(pair.value) }
            case "content-disposition": answer.naming = .verbatim(pair.value)
            case "access-control-allow-origin", "access-control-allow-credentials":
                if !ask.hasOrigin { answer.pairs.append(pair) }
            default: answer.pairs.append(pair)
            }
        }
    }

    private static func apply(
        _ overrides: [(header: StaticString, value: String)], to answer: inout ReadAnswer
    ) {
        for (header, value) in overrides {
            switch "\(header)" {
            case "Content-Type": answer.contentType = .text(value)
            case "Content-Encoding": answer.encoding = .text(value)
            case "Content-Disposition": answer.naming = .verbatim(value)
            case let name:
                answer.pairs.removeAll { $0.name.lowercased() == name.lowercased() }
                answer.extras.append((header, value))
            }
        }
    }

    /// Which bytes are sent.
    private static func choose(
        _ content: ReadContent, _ ask: ReadRequest, in answer: inout ReadAnswer
    ) {
        let size = content.length
        if ask.isHead {
            answer.body = .omitted(size)
            return
        }
        let range = ask.range.map { RangeHeader.parse($0.utf8.span, size: size) } ?? .whole
        switch range {
        case .whole: send(content, ByteRange(start: 0, length: size), in: &answer)
        case .single(let range):
            answer.status = 206
            answer.contentRange = "bytes \(range.text(of: size))"
            send(content, range, in: &answer)
        case .several(let ranges): send(content, ranges, in: &answer)
        case .unsatisfiable:
            answer.contentRange = "bytes */\(size)"
            answer.become(416, message: "invalid range: failed to overlap\n")
        case .invalid: answer.become(416, message: "invalid range\n")
        }
    }

    private static func send(
        _ content: ReadContent, _ range: ByteRange, in answer: inout ReadAnswer
    ) {
        let isUnknown = answer.contentType.isNone && answer.encoding.isNone && range.length > 0
        guard case .bytes(let buffer) = content else {
            answer.needsSniff = isUnknown
            answer.body = range.length == 0 ? .bytes(ByteBuffer()) : .content(content, range)
            return
        }
        let bytes = slice(buffer, range)
        answer.body = .bytes(bytes)
        if isUnknown { answer.contentType = .text(ContentType.sniff(bytes.readableBytesUInt8Span)) }
    }

    private static func send(
        _ content: ReadContent, _ ranges: [ByteRange], in answer: inout ReadAnswer
    ) {
        var generator = SystemRandomNumberGenerator()
        let type = answer.contentType.withSpan {
            $0.isEmpty ? "application/octet-stream" : text($0)
        }
        let frame = RangeMultipart(size: content.length, contentType: type, using: &generator)
        var parts: [ReadPart] = []
        var length: UInt64 = 0
        func literal(_ text: String) {
            parts.append(.literal(ByteBuffer(string: text)))
            length += UInt64(text.utf8.count)
        }
        for (i, range) in ranges.enumerated() {
            literal(frame.opening(range, isFirst: i == 0))
            parts.append(.content(range))
            length += range.length
        }
        literal(frame.closing)
        answer.status = 206
        answer.contentType = .text(frame.header)
        guard case .bytes(let buffer) = content else {
            answer.body = .parts(content, parts, length: length)
            return
        }
        var joined = ByteBufferAllocator().buffer(capacity: Int(clamping: length))
        for part in parts {
            switch part {
            case .literal(let bytes): joined.writeImmutableBuffer(bytes)
            case .content(let range): joined.writeImmutableBuffer(slice(buffer, range))
            }
        }
        answer.body = .bytes(joined)
    }

    private static func text(_ bytes: Span<UInt8>) -> String {
        unsafe bytes.withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) }
    }

    private static func slice(_ buffer: ByteBuffer, _ range: ByteRange) -> ByteBuffer {
        if range.start == 0, range.length == UInt64(buffer.readableBytes) { return buffer }
        let start = buffer.readerIndex + Int(range.start)
        return buffer.getSlice(at: start, length: Int(range.length)) ?? ByteBuffer()
    }
}
