internal import Model
internal import NIOCore
internal import Platform

/// A compaction under way: the copy, its index, and how far the data file has been copied.
final class CompactionProgress: @unchecked Sendable {
    // `@unchecked`: touched by the one compaction a volume can have, or on the commit thread while
    // it waits.
    let source: Volume.Generation
    let target: Volume.Generation
    var copier: CompactionCopier
    /// Records below this offset of the source have been copied.
    var copied: UInt64
    /// The copy has taken the place of the data file.
    var isSwitched = false

    init(
        source: Volume.Generation, target: Volume.Generation, copier: CompactionCopier,
        copied: UInt64
    ) {
        self.source = source
        self.target = target
        self.copier = copier
        self.copied = copied
    }
}

/// Copies records from one data file to another and indexes them.
///
/// One thread at a time.
struct CompactionCopier {
    /// Bytes gathered before they are written.
    static let piece = 1 << 20
    /// Bytes after which write-back is started, so that the final sync is short.
    static let writeback: UInt64 = 8 << 20

    let source: DataFile
    let target: DataFile
    var builder: IndexBuilder
    private(set) var end: UInt64
    private var buffer = ByteBuffer()
    private var bufferStart: UInt64
    private var writebackStart: UInt64
    /// Needles whose bytes did not verify; they are copied as they are.
    private(set) var damagedNeedles = 0
    private var pacer: Pacer

    init(source: DataFile, target: DataFile, index: NeedleIndex, bytesPerSecond: Int) {
        self.source = source
        self.target = target
        builder = IndexBuilder(index: index, data: target, from: nil)
        end = target.superBlock.firstRecord
        bufferStart = end
        writebackStart = end
        pacer = Pacer(bytesPerSecond: bytesPerSecond)
    }

    /// Copies the newest record of a live needle, unless its time to live is over.
    mutating func copyLive(
        _ key: NeedleKey, _ entry: IndexEntry, now: UInt64
    ) throws(NeedleError) {
        let length = source.length(size: entry.size)
        var time: UInt64 = 0
        do throws(NeedleError) {
            let needle = try source.read(key, entry)
            if needle.isExpired(at: now) { return }
            time = needle.appendedAtNanoseconds
        } catch {
            // damaged bytes are kept as they are: dropping them would make the damage final
            guard case .damaged = error else { throw error }
            damagedNeedles += 1
        }
        try append(key, entry.size, from: entry.offset, length: length, time: time, isDelete: false)
    }

    /// Copies a record that was appended while the compaction ran.
    mutating func copyLater(_ record: ScannedRecord) throws(NeedleError) {
        let isDelete = record.header.size == 0 && !record.isMarkedEmpty
        // a delete of something that was not copied has nothing to delete
        if isDelete, try builder.entry(record.header.id) == nil { return }
        try append(
            record.header.id, record.header.size, from: record.offset, length: record.length,
            time: record.appendedAt, isDelete: isDelete)
    }

    private mutating func append(
        _ key: NeedleKey, _ size: UInt32, from offset: UInt64, length: UInt64, time: UInt64,
        isDelete: Bool
    ) throws(NeedleError) {
        pacer.pay(Int(length))
        let place = end
        if length > UInt64(CompactionCopier.piece) {
            try flush()
            try disk { () throws(DiskError) in
                // of a damaged needle, what is there; the rest stays zeros
                let there = try source.file.length()
                let whole = min(length, there - min(offset, there))
                try target.file.copy(from: source.file, at: offset, to: place, length: whole)
            }
            bufferStart = place + length
        } else {
            let before = buffer.readableBytes
            try readAppending(&buffer, source.file, at: offset, count: Int(length))
            // the last record of a file may lack padding
            let missing = Int(length) - (buffer.readableBytes - before)
            if missing > 0 { buffer.writeRepeatingByte(0, count: missing) }
            if size == 0, !isDelete { markEmpty(recordAt: before) }
        }
        end = place + length
        let header = RecordHeader(buffer: key, size: size)
        try builder.apply(
            ScannedRecord(
                offset: place, header: header, length: length, appendedAt: time,
                isMarkedEmpty: size == 0 && !isDelete),
            isDelete: isDelete)
        if buffer.readableBytes >= CompactionCopier.piece { try flush() }
    }

    /// Writes our seal into the padding of an empty file that the original wrote.
    private mutating func markEmpty(recordAt index: Int) {
        let start = buffer.readerIndex + index
        let length = RecordHeader.length + Record.footerLength(target.version)
        guard let covered = buffer.getSlice(at: start, length: length) else { return }
        let crc = CRC32C.checksum(covered.readableBytesSpan)
        buffer.setInteger(Record.seal(crc: crc, isDelete: false), at: start + length)
    }

    /// Writes what is gathered.
    mutating func flush() throws(NeedleError) {
        guard buffer.readableBytes > 0 else { return }
        let start = bufferStart
        try disk { () throws(DiskError) in
            try target.file.write(buffer.readableBytesSpan, at: start)
        }
        bufferStart += UInt64(buffer.readableBytes)
        buffer.clear()
        if bufferStart - writebackStart >= CompactionCopier.writeback {
            target.file.startWriteback(at: writebackStart, length: bufferStart - writebackStart)
            writebackStart = bufferStart
        }
    }
}

extension RecordHeader {
    /// A header of which only key and size matter.
    init(buffer key: NeedleKey, size: UInt32) {
        cookie = 0
        id = key
        self.size = size
    }
}
