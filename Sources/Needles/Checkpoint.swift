internal import Model
internal import NIOCore
internal import Platform

/// What the index knows about the data file it describes; stored with the entries in one
/// transaction.
struct Checkpoint: Equatable {
    static let formatVersion: UInt32 = 1
    static let length = 100

    /// Compaction revision of the data file.
    var revision: UInt16 = 0
    /// Every record below this offset is in the index.
    var watermark: UInt64 = 0
    /// Where the last record below the watermark begins; 0 when there is none.
    var lastRecord: UInt64 = 0
    /// CRC-32C over the header and footer of that record: tells whether the file is still the same.
    var fingerprint: UInt32 = 0
    /// Counts at the watermark.
    var counts = Counts()

    /// The bytes: fields big-endian in order, then their CRC-32C.
    var bytes: ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeMultipleIntegers(Checkpoint.formatVersion, UInt32(revision))
        buffer.writeMultipleIntegers(watermark, lastRecord, fingerprint)
        buffer.writeMultipleIntegers(
            counts.files, counts.deletes, counts.deletedBytes, counts.maxKey,
            counts.lastAppend, counts.lastWrite)
        buffer.writeInteger(counts.damagedBytes)
        while buffer.readableBytes < Checkpoint.length - 4 { buffer.writeInteger(UInt8(0)) }
        buffer.writeInteger(CRC32C.checksum(buffer.readableBytesSpan))
        return buffer
    }

    /// A checkpoint of nothing.
    init() {}

    /// Decodes; `nil` when the bytes are not a checkpoint of this format.
    init?(_ bytes: ByteBuffer) {
        var buffer = bytes
        guard buffer.readableBytes == Checkpoint.length,
            let crc = buffer.getInteger(
                at: buffer.readerIndex + Checkpoint.length - 4, as: UInt32.self),
            let covered = buffer.getSlice(at: buffer.readerIndex, length: Checkpoint.length - 4),
            crc == CRC32C.checksum(covered.readableBytesSpan),
            let (format, revision) = buffer.readMultipleIntegers(as: (UInt32, UInt32).self),
            format == Checkpoint.formatVersion,
            let (watermark, last, print) = buffer.readMultipleIntegers(
                as: (UInt64, UInt64, UInt32).self),
            let (files, deletes, deletedBytes, maxKey, lastAppend, lastWrite) =
                buffer.readMultipleIntegers(
                    as: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64).self),
            let damaged = buffer.readInteger(as: UInt64.self)
        else { return nil }
        self.revision = UInt16(truncatingIfNeeded: revision)
        self.watermark = watermark
        lastRecord = last
        fingerprint = print
        counts = Counts(
            files: files, deletes: deletes, deletedBytes: deletedBytes, maxKey: maxKey,
            lastAppend: lastAppend, lastWrite: lastWrite, damagedBytes: damaged)
    }
}

/// What a volume counts as records come.
struct Counts: Equatable {
    /// Append times above this (the year 2262) are damage.
    static let latestTime = UInt64(Int64.max)

    /// Needles written, replaced and deleted ones included.
    var files: UInt64 = 0
    /// Needles replaced or deleted.
    var deletes: UInt64 = 0
    /// Bytes of their records.
    var deletedBytes: UInt64 = 0
    /// Largest key.
    var maxKey: NeedleKey = 0
    /// Largest append time, unix nanoseconds.
    var lastAppend: UInt64 = 0
    /// Append time of the newest record that is not a delete, unix nanoseconds.
    var lastWrite: UInt64 = 0
    /// Bytes that were skipped because they are no record.
    var damagedBytes: UInt64 = 0

    /// Counts a record: `old` is the entry it replaces, `isDelete` whether it is a delete.
    mutating func count(
        key: NeedleKey, old: IndexEntry?, oldLength: UInt64, ownLength: UInt64, isDelete: Bool,
        appendedAt: UInt64
    ) {
        maxKey = max(maxKey, key)
        // a damaged time must not push all later ones to the end of time, or past it
        if appendedAt <= Counts.latestTime { lastAppend = max(lastAppend, appendedAt) }
        if isDelete {
            deletedBytes += ownLength
        } else {
            files += 1
            if appendedAt <= Counts.latestTime { lastWrite = max(lastWrite, appendedAt) }
        }
        if let old, !old.isDeleted {
            deletes += 1
            deletedBytes += oldLength
        }
    }
}
