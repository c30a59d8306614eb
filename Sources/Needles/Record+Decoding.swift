internal import Model
internal import NIOCore
internal import Platform

/// The optional fields of a record of version 2 or 3, as ranges of the buffer they were found in.
struct RecordFields {
    var flags = Record.Flags()
    var name: ByteBuffer?
    var mime: ByteBuffer?
    var lastModified: UInt64?
    var ttl = TimeToLive.none
    var pairs: ByteBuffer?
    /// Bytes the fields take.
    private(set) var length = 0

    /// No fields at all.
    init() {}

    /// Reads the fields in `buffer`, which begins with the flags and ends with the last field.
    ///
    /// A field for which no bytes are left is quietly absent; one that runs past the end is damage
    /// and gives `nil` (`docs/format.md`, records).
    init?(_ buffer: ByteBuffer) {
        var buffer = buffer
        let start = buffer.readerIndex
        guard let raw = buffer.readInteger(as: UInt8.self) else { return }
        flags = Record.Flags(rawValue: raw)
        if flags.contains(.name), let count = buffer.readInteger(as: UInt8.self) {
            guard let slice = buffer.readSlice(length: Int(count)) else { return nil }
            name = slice
        }
        if flags.contains(.mime), let count = buffer.readInteger(as: UInt8.self) {
            guard let slice = buffer.readSlice(length: Int(count)) else { return nil }
            mime = slice
        }
        if flags.contains(.lastModified), buffer.readableBytes > 0 {
            guard let high = buffer.readInteger(as: UInt8.self),
                let low = buffer.readInteger(as: UInt32.self)
            else { return nil }
            lastModified = UInt64(high) << 32 | UInt64(low)
        }
        if flags.contains(.ttl), buffer.readableBytes > 0 {
            guard let (count, unit) = buffer.readMultipleIntegers(as: (UInt8, UInt8).self) else {
                return nil
            }
            ttl = TimeToLive(stored: count, unit)
        }
        if flags.contains(.pairs), let count = buffer.readInteger(as: UInt16.self) {
            guard let slice = buffer.readSlice(length: Int(count)) else { return nil }
            pairs = slice
        }
        length = buffer.readerIndex - start
    }
}

extension StoredNeedle {
    /// Decodes a whole record and verifies its checksum.
    ///
    /// `record` holds exactly the record at `offset`; `expected` is what the index says of it.
    init(
        record: ByteBuffer, volume: VolumeID, version: UInt8, offset: UInt64, id: NeedleKey,
        size: UInt32
    ) throws(NeedleError) {
        let start = record.readerIndex
        guard let header = RecordHeader(record, at: start) else {
            throw .damaged(
                volume, offset: offset, expected: "a needle", found: "the end of the file")
        }
        guard header.size == size else {
            throw .damaged(
                volume, offset: offset, expected: "needle \(hex(id)) of size \(size)",
                found: "size \(header.size)")
        }
        guard header.id == id else {
            throw .damaged(
                volume, offset: offset, expected: "needle \(hex(id))",
                found: "needle \(hex(header.id))")
        }
        let footer = start + RecordHeader.length + Int(size)
        guard let stored = record.getInteger(at: footer, as: UInt32.self),
            record.readableBytes >= RecordHeader.length + Int(size) + Record.footerLength(version)
        else {
            throw .damaged(
                volume, offset: offset, expected: "needle \(hex(id)) of size \(size)",
                found: "the end of the file after \(record.readableBytes) bytes")
        }
        let time = version == 3 ? record.getInteger(at: footer + 4, as: UInt64.self) ?? 0 : 0
        let (data, fields) = try StoredNeedle.split(
            record, volume: volume, version: version, offset: offset, size: size)
        let crc = CRC32C.checksum(data.readableBytesSpan)
        guard size == 0 || Record.isRight(stored: stored, for: crc) else {
            throw .damaged(
                volume, offset: offset, expected: "checksum \(hex(stored)) of needle \(hex(id))",
                found: hex(crc))
        }
        self.init(
            header: header, body: .bytes(data), fields: fields, checksum: crc, appendedAt: time)
    }

    /// Puts the parts of a needle together.
    init(
        header: RecordHeader, body: Body, fields: RecordFields, checksum: UInt32,
        appendedAt: UInt64
    ) {
        id = header.id
        cookie = header.cookie
        recordSize = header.size
        self.body = body
        isCompressed = fields.flags.contains(.compressed)
        isChunkManifest = fields.flags.contains(.chunkManifest)
        name = fields.name
        mime = fields.mime
        lastModified = fields.lastModified
        ttl = fields.ttl
        pairs = fields.pairs
        self.checksum = checksum
        appendedAtNanoseconds = appendedAt
    }

    /// The data and the fields of a record with its header in front.
    static func split(
        _ record: ByteBuffer, volume: VolumeID, version: UInt8, offset: UInt64, size: UInt32
    ) throws(NeedleError) -> (ByteBuffer, RecordFields) {
        let start = record.readerIndex + RecordHeader.length
        guard size > 0 else { return (ByteBuffer(), RecordFields()) }
        if version == 1 {
            guard let data = record.getSlice(at: start, length: Int(size)) else {
                throw .damaged(
                    volume, offset: offset, expected: "\(size) bytes", found: "fewer")
            }
            return (data, RecordFields())
        }
        guard let length = record.getInteger(at: start, as: UInt32.self),
            UInt64(length) + 4 <= UInt64(size),
            let data = record.getSlice(at: start + 4, length: Int(length)),
            let rest = record.getSlice(
                at: start + 4 + Int(length), length: Int(size) - 4 - Int(length)),
            let fields = RecordFields(rest)
        else {
            throw .damaged(
                volume, offset: offset, expected: "fields that fit size \(size)",
                found: "fields that run past it")
        }
        return (data, fields)
    }

    /// Whether its time to live is over at `now` (unix seconds).
    ///
    /// Counts from the append time; needs both a ttl and a last-modified time, as the format has
    /// it.
    func isExpired(at now: UInt64) -> Bool {
        guard !ttl.isNone, lastModified != nil else { return false }
        return now >= appendedAtNanoseconds / 1_000_000_000 + ttl.seconds
    }
}
