internal import Model
internal import NIOCore
internal import Platform

/// A record about to be appended: everything but the data itself.
struct EncodedRecord {
    /// Size field S.
    let size: UInt32
    /// CRC-32C of the data.
    let checksum: UInt32
    /// Bytes before the data: header and data size; the header alone when there is no data.
    let head: ByteBuffer
    /// Bytes after the data: flags, fields, checksum, time, padding.
    let tail: ByteBuffer
}

extension Record {
    /// Encodes a needle for a volume of `version`.
    ///
    /// Version 1 keeps only the bytes.
    ///
    /// A body whose record would not fit the signed size field is refused.
    static func encode(
        _ header: (key: NeedleKey, cookie: UInt32), _ content: NeedleContent, checksum: UInt32,
        version: UInt8, volumeTTL: TimeToLive, now: UInt64
    ) throws(NeedleError) -> EncodedRecord {
        let dataLength = content.body.length
        guard dataLength <= largestSize else {
            throw .invalid("a file of \(dataLength) bytes is more than a needle can hold")
        }
        var fields = ByteBuffer()
        if version >= 2, dataLength > 0 {
            put(fieldsOf: content, volumeTTL: volumeTTL, now: now, into: &fields)
        }
        let prefix: UInt64 = version >= 2 && dataLength > 0 ? 4 : 0
        let size = prefix + dataLength + UInt64(fields.readableBytes)
        guard size <= largestSize else {
            throw .invalid("a file of \(dataLength) bytes is more than a needle can hold")
        }
        var head = ByteBuffer()
        head.writeMultipleIntegers(header.cookie, header.key, UInt32(size))
        if prefix > 0 { head.writeInteger(UInt32(dataLength)) }
        put(
            footerFor: UInt32(size), checksum: checksum, version: version, now: now,
            head: head, isDelete: false, into: &fields)
        return EncodedRecord(size: UInt32(size), checksum: checksum, head: head, tail: fields)
    }

    /// Writes the record of a delete.
    static func encodeDelete(
        key: NeedleKey, cookie: UInt32, version: UInt8, now: UInt64, into buffer: inout ByteBuffer
    ) {
        var head = ByteBuffer()
        head.writeMultipleIntegers(cookie, key, UInt32(0))
        var tail = ByteBuffer()
        put(
            footerFor: 0, checksum: 0, version: version, now: now, head: head, isDelete: true,
            into: &tail)
        buffer.writeImmutableBuffer(head)
        buffer.writeImmutableBuffer(tail)
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

    /// Checksum, append time and padding, behind the fields in `buffer`; `head` is what precedes
    /// the data.
    private static func put(
        footerFor size: UInt32, checksum: UInt32, version: UInt8, now: UInt64, head: ByteBuffer,
        isDelete: Bool, into buffer: inout ByteBuffer
    ) {
        buffer.writeInteger(checksum)
        if version == 3 { buffer.writeInteger(now) }
        let crc = CRC32C.checksum(
            buffer.readableBytesSpan, continuing: CRC32C.checksum(head.readableBytesSpan))
        let seal = seal(crc: crc, isDelete: isDelete)
        for i in 0..<padding(size: size, version: version) {
            buffer.writeInteger(i < 4 ? UInt8(truncatingIfNeeded: seal >> UInt32(24 - 8 * i)) : 0)
        }
    }
}
