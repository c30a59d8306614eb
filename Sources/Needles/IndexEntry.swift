internal import Model
internal import Platform

/// Where the newest record of a needle lies.
struct IndexEntry: Equatable {
    /// Byte offset of the record in the data file; a multiple of 8.
    var offset: UInt64
    /// The size field S of the record.
    var size: UInt32
    /// Whether a delete followed; offset and size still name what was deleted, until compaction.
    var isDeleted: Bool

    /// Bytes of data files that entries can address: 2^40 steps of 8.
    static let largestOffset: UInt64 = 1 << 43

    /// The 16 bytes of an index value as two words: offset ÷ 8 (5 bytes), flags (1), zeros (2);
    /// size (4), CRC-32C over the key and the first twelve bytes (4).
    ///
    /// All big-endian (`docs/format.md`, index).
    func words(for key: NeedleKey) -> (UInt64, UInt64) {
        let first = (offset >> 3) << 24 | (isDeleted ? 1 << 16 : 0)
        let crc = IndexEntry.checksum(key, first, size)
        return (first, UInt64(size) << 32 | UInt64(crc))
    }

    /// An entry at a place.
    init(offset: UInt64, size: UInt32, isDeleted: Bool = false) {
        self.offset = offset
        self.size = size
        self.isDeleted = isDeleted
    }

    /// Decodes the two words stored for `key`; `nil` when their checksum is wrong.
    init?(_ words: (UInt64, UInt64), for key: NeedleKey) {
        size = UInt32(truncatingIfNeeded: words.1 >> 32)
        guard IndexEntry.checksum(key, words.0, size) == UInt32(truncatingIfNeeded: words.1) else {
            return nil
        }
        offset = (words.0 >> 24) << 3
        isDeleted = words.0 >> 16 & 1 == 1
    }

    private static func checksum(_ key: UInt64, _ first: UInt64, _ size: UInt32) -> UInt32 {
        unsafe withUnsafeTemporaryAllocation(byteCount: 20, alignment: 8) { buffer in
            unsafe buffer.storeBytes(of: key.bigEndian, toByteOffset: 0, as: UInt64.self)
            unsafe buffer.storeBytes(of: first.bigEndian, toByteOffset: 8, as: UInt64.self)
            unsafe buffer.storeBytes(of: size.bigEndian, toByteOffset: 16, as: UInt32.self)
            return unsafe CRC32C.checksum(UnsafeRawBufferPointer(buffer))
        }
    }
}
