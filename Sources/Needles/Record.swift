internal import Model
internal import NIOCore
internal import Platform

/// The fixed part that starts every record (`docs/format.md`, records).
struct RecordHeader: Equatable {
    static let length = 16

    var cookie: UInt32
    var id: NeedleKey
    /// S: bytes between header and checksum.
    var size: UInt32

    /// Decodes 16 bytes at `index`; `nil` when there are fewer.
    init?(_ buffer: ByteBuffer, at index: Int) {
        guard let cookie = buffer.getInteger(at: index, as: UInt32.self),
            let id = buffer.getInteger(at: index + 4, as: UInt64.self),
            let size = buffer.getInteger(at: index + 12, as: UInt32.self)
        else { return nil }
        self.cookie = cookie
        self.id = id
        self.size = size
    }

    /// Whether nothing but zeros was there.
    var isZero: Bool { cookie == 0 && id == 0 && size == 0 }
    /// Whether S can be a size: it is signed on disk.
    var isPlausible: Bool { size <= UInt32(Int32.max) && !isZero }
}

/// Lengths and field values of records.
enum Record {
    /// Cookie of the records that the original's compaction makes of empty files and deletes that
    /// came meanwhile.
    static let replayedCookie: UInt32 = 0x1234_5678
    static let largestSize = UInt64(Int32.max)
    static let longestText = 255
    static let longestPairs = 65_535
    /// Flags, name, mime, last modified, ttl and pairs at their longest.
    static let longestFields = 1 + 256 + 256 + 5 + 2 + 2 + longestPairs

    struct Flags: OptionSet {
        let rawValue: UInt8
        static let compressed = Flags(rawValue: 0x01)
        static let name = Flags(rawValue: 0x02)
        static let mime = Flags(rawValue: 0x04)
        static let lastModified = Flags(rawValue: 0x08)
        static let ttl = Flags(rawValue: 0x10)
        static let pairs = Flags(rawValue: 0x20)
        static let chunkManifest = Flags(rawValue: 0x80)
    }

    /// Bytes behind the fields: checksum, and the append time in version 3.
    static func footerLength(_ version: UInt8) -> Int { version == 3 ? 12 : 4 }

    /// 1 to 8 bytes that bring a record to a multiple of 8; never none.
    static func padding(size: UInt32, version: UInt8) -> Int {
        8 - (RecordHeader.length + Int(size) + footerLength(version)) % 8
    }

    /// Bytes of a whole record.
    static func length(size: UInt32, version: UInt8) -> UInt64 {
        UInt64(RecordHeader.length + Int(size) + footerLength(version))
            + UInt64(padding(size: size, version: version))
    }

    /// What our records have at the begin of their padding, as far as it has room; readers ignore
    /// padding.
    ///
    /// CRC-32C over all of a record but its data and padding; inverted for a delete. The format's
    /// own checksum covers the data alone: of a record of which a power cut left only some sectors,
    /// cookie, key, kind or name can be wrong while the data is right. And an empty file is else
    /// the same record as a delete.
    static func seal(crc: UInt32, isDelete: Bool) -> UInt32 { isDelete ? ~crc : crc }

    /// The form of the checksum before release 3.09 of the original.
    static func legacyChecksum(_ crc: UInt32) -> UInt32 {
        (crc >> 15 | crc << 17) &+ 0xa282_ead8
    }

    /// Whether a stored checksum is right for data whose CRC-32C is `crc`, in either form.
    static func isRight(stored: UInt32, for crc: UInt32) -> Bool {
        stored == crc || stored == legacyChecksum(crc)
    }
}
