internal import Model
internal import NIOCore
internal import Platform

extension Record {
    /// Appends the record of a needle to `buffer`, for a volume of `version`.
    ///
    /// Version 1 keeps only the bytes.
    ///
    /// Of a body in a spool the data is left out: it belongs at the returned place in `buffer`.
    ///
    /// A body whose record would not fit the signed size field is refused, and nothing is appended.
    /// - Returns: the size field S, and the bytes of the record that precede the data.
    static func encode(
        _ header: (key: NeedleKey, cookie: UInt32), _ content: NeedleContent, checksum: UInt32,
        version: UInt8, volumeTTL: TimeToLive, now: UInt64, into buffer: inout ByteBuffer
    ) throws(NeedleError) -> (size: UInt32, headLength: Int) {
        let dataLength = content.body.length
        guard dataLength <= largestSize else { throw tooLarge(dataLength) }
        let start = buffer.writerIndex
        let hasFields = version >= 2 && dataLength > 0
        buffer.writeMultipleIntegers(header.cookie, header.key, UInt32(dataLength))
        if hasFields { buffer.writeInteger(UInt32(dataLength)) }
        let headLength = buffer.writerIndex - start
        if case .bytes(let bytes) = content.body { buffer.writeImmutableBuffer(bytes) }
        let fields = buffer.writerIndex
        if hasFields { put(fieldsOf: content, volumeTTL: volumeTTL, now: now, into: &buffer) }
        let around = headLength - RecordHeader.length + buffer.writerIndex - fields
        let size = dataLength + UInt64(around)
        guard size <= largestSize else {
            buffer.moveWriterIndex(to: start)
            throw tooLarge(dataLength)
        }
        buffer.setInteger(UInt32(size), at: start + RecordHeader.length - 4)
        put(
            footerFor: UInt32(size), checksum: checksum, version: version, now: now,
            head: start..<start + headLength, rest: fields, isDelete: false, into: &buffer)
        return (UInt32(size), headLength)
    }

    private static func tooLarge(_ length: UInt64) -> NeedleError {
        .invalid("a file of \(length) bytes is more than a needle can hold")
    }

    /// Appends the record of a delete.
    static func encodeDelete(
        key: NeedleKey, cookie: UInt32, version: UInt8, now: UInt64, into buffer: inout ByteBuffer
    ) {
        let start = buffer.writerIndex
        buffer.writeMultipleIntegers(cookie, key, UInt32(0))
        put(
            footerFor: 0, checksum: 0, version: version, now: now,
            head: start..<buffer.writerIndex, rest: buffer.writerIndex, isDelete: true,
            into: &buffer)
    }

    private static func put(
        fieldsOf content: NeedleContent, volumeTTL: TimeToLive, now: UInt64,
        into buffer: inout ByteBuffer
    ) {
        var flags = Flags.lastModified
        if content.isCompressed { flags.insert(.compressed) }
        if content.isChunkManifest { flags.insert(.chunkManifest) }
        let name = content.name.flatMap { $0.utf8.count <= longestText ? $0 : nil }
        let mime = content.mime.flatMap { $0.utf8.count <= longestText ? $0 : nil }
        let pairs = content.pairs.flatMap {
            !$0.isEmpty && $0.utf8.count <= longestPairs ? $0 : nil
        }
        let ttl = content.ttl.isNone ? volumeTTL : content.ttl
        if name != nil { flags.insert(.name) }
        if mime != nil { flags.insert(.mime) }
        if !ttl.isNone { flags.insert(.ttl) }
        if pairs != nil { flags.insert(.pairs) }
        buffer.writeInteger(flags.rawValue)
        for text in [name, mime] {
            guard let text else { continue }
            buffer.writeInteger(UInt8(text.utf8.count))
            buffer.writeString(text)
        }
        let modified = content.lastModified ?? now / 1_000_000_000
        buffer.writeInteger(UInt8(truncatingIfNeeded: modified >> 32))
        buffer.writeInteger(UInt32(truncatingIfNeeded: modified))
        if !ttl.isNone { buffer.writeMultipleIntegers(ttl.count, ttl.unit.rawValue) }
        if let pairs {
            buffer.writeInteger(UInt16(pairs.utf8.count))
            buffer.writeString(pairs)
        }
    }

    /// Checksum, append time and padding, behind the fields, which begin at `rest`; `head` is what
    /// precedes the data.
    private static func put(
        footerFor size: UInt32, checksum: UInt32, version: UInt8, now: UInt64, head: Range<Int>,
        rest: Int, isDelete: Bool, into buffer: inout ByteBuffer
    ) {
        buffer.writeInteger(checksum)
        if version == 3 { buffer.writeInteger(now) }
        let seal = seal(crc: crc(buffer, head: head, rest: rest), isDelete: isDelete)
        for i in 0..<padding(size: size, version: version) {
            buffer.writeInteger(i < 4 ? UInt8(truncatingIfNeeded: seal >> UInt32(24 - 8 * i)) : 0)
        }
    }

    private static func crc(_ buffer: ByteBuffer, head: Range<Int>, rest: Int) -> UInt32 {
        let written = buffer.readableBytesSpan
        let base = buffer.readerIndex
        let before = written.extracting(head.lowerBound - base..<head.upperBound - base)
        let behind = written.extracting(rest - base..<written.byteCount)
        return CRC32C.checksum(behind, continuing: CRC32C.checksum(before))
    }
}
