internal import Model
internal import NIOCore
internal import Platform
internal import Synchronization

/// One `.dat` file: the superblock and the records behind it.
final class DataFile: Sendable {
    /// Large needles whose checksum was verified since the file was opened; the oldest are
    /// forgotten.
    static let rememberedLargeNeedles = 4096
    /// Piece in which the data of large needles is verified.
    static let verifyPiece = 1 << 20

    let volume: VolumeID
    let file: any DiskFile
    let superBlock: SuperBlock
    /// Zeros behind the last record.
    let runway = Runway()
    private let verified = Mutex<[UInt64: UInt32]>([:])

    init(volume: VolumeID, file: any DiskFile, superBlock: SuperBlock) {
        self.volume = volume
        self.file = file
        self.superBlock = superBlock
    }

    /// Reads the superblock of an open file.
    convenience init(volume: VolumeID, opening file: any DiskFile) throws(NeedleError) {
        let bytes = try readBuffer(file, at: 0, count: SuperBlock.length)
        let superBlock = try SuperBlock(Array(bytes.readableBytesView), volume: volume)
        self.init(volume: volume, file: file, superBlock: superBlock)
    }

    var version: UInt8 { superBlock.version }

    func length(size: UInt32) -> UInt64 { Record.length(size: size, version: version) }

    /// Reads and verifies a small needle if memory holds it; `nil` when it would wait for the disk.
    func readCached(_ id: NeedleKey, _ entry: IndexEntry) throws(NeedleError) -> StoredNeedle? {
        let count = Int(length(size: entry.size))
        guard entry.size <= UInt32(Volume.largeBodyBytes) else { return nil }
        var buffer = ByteBufferAllocator().buffer(capacity: count)
        var failure: DiskError?
        let read = unsafe buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: count) {
            target in
            do throws(DiskError) {
                let part = unsafe UnsafeMutableRawBufferPointer(rebasing: target[..<count])
                return try unsafe file.readCached(into: part, at: entry.offset) ?? 0
            } catch {
                failure = error
                return 0
            }
        }
        if let failure { throw NeedleError(failure) }
        guard read == count else { return nil }
        return try decode(buffer, id, entry)
    }

    /// Reads and verifies a needle.
    ///
    /// Blocks.
    func read(_ id: NeedleKey, _ entry: IndexEntry) throws(NeedleError) -> StoredNeedle {
        if entry.size > UInt32(Volume.largeBodyBytes), version > 1 {
            return try readLarge(id, entry)
        }
        // a last record that lacks only padding bytes is whole
        let count = Int(length(size: entry.size))
        return try decode(try readBuffer(file, at: entry.offset, count: count), id, entry)
    }

    private func decode(
        _ record: ByteBuffer, _ id: NeedleKey, _ entry: IndexEntry
    ) throws(NeedleError) -> StoredNeedle {
        try StoredNeedle(
            record: record, volume: volume, version: version, offset: entry.offset, id: id,
            size: entry.size)
    }

    /// The header of a record; `nil` past the end of the file.
    func header(at offset: UInt64) throws(NeedleError) -> RecordHeader? {
        RecordHeader(try readBuffer(file, at: offset, count: RecordHeader.length), at: 0)
    }

    /// Whether there are only zeros between two offsets.
    func isZero(from start: UInt64, to end: UInt64) throws(NeedleError) -> Bool {
        var position = start
        while position < end {
            let count = Int(min(64 << 10, end - position))
            let piece = try readBuffer(file, at: position, count: count)
            guard piece.readableBytes > 0 else { return true }
            guard piece.readableBytesView.allSatisfy({ $0 == 0 }) else { return false }
            position += UInt64(piece.readableBytes)
        }
        return true
    }

    /// Reads the fields of a large needle and verifies its data in pieces, once.
    private func readLarge(
        _ id: NeedleKey, _ entry: IndexEntry
    ) throws(NeedleError) -> StoredNeedle {
        let head = try readBuffer(file, at: entry.offset, count: RecordHeader.length + 4)
        guard let header = RecordHeader(head, at: 0), header.id == id, header.size == entry.size,
            let dataLength = head.getInteger(at: RecordHeader.length, as: UInt32.self),
            UInt64(dataLength) + 4 <= UInt64(entry.size)
        else {
            throw .damaged(
                volume, offset: entry.offset, expected: "needle \(hex(id)) of size \(entry.size)",
                found: "another header")
        }
        let dataStart = entry.offset + UInt64(RecordHeader.length) + 4
        let fieldsLength = Int(entry.size) - 4 - Int(dataLength)
        let footer = Record.footerLength(version)
        let rest = try readBuffer(
            file, at: dataStart + UInt64(dataLength), count: fieldsLength + footer)
        guard let fields = RecordFields(rest.getSlice(at: 0, length: fieldsLength) ?? ByteBuffer()),
            let stored = rest.getInteger(at: fieldsLength, as: UInt32.self)
        else {
            throw .damaged(
                volume, offset: entry.offset, expected: "fields that fit size \(entry.size)",
                found: "fields that run past it")
        }
        let crc = try verify(at: dataStart, length: UInt64(dataLength), record: entry.offset)
        guard Record.isRight(stored: stored, for: crc) else {
            throw .damaged(
                volume, offset: entry.offset,
                expected: "checksum \(hex(stored)) of needle \(hex(id))", found: hex(crc))
        }
        let time =
            version == 3 ? rest.getInteger(at: fieldsLength + 4, as: UInt64.self) ?? 0 : 0
        let body = FileBody(file: file, offset: dataStart, length: UInt64(dataLength))
        return StoredNeedle(
            header: header, body: .file(body), fields: fields, checksum: crc, appendedAt: time)
    }

    /// CRC-32C of a range, remembered by the record it belongs to: records never change in place.
    private func verify(
        at start: UInt64, length: UInt64, record: UInt64
    ) throws(NeedleError) -> UInt32 {
        if let known = verified.withLock({ $0[record] }) { return known }
        let crc = try checksum(at: start, length: length)
        remember(crc, record: record)
        return crc
    }

    /// Takes a checksum for verified: of a large needle whose data was just written, or just read.
    func remember(_ crc: UInt32, record: UInt64) {
        verified.withLock {
            if $0.count >= DataFile.rememberedLargeNeedles { $0.removeAll() }
            $0[record] = crc
        }
    }

    /// CRC-32C of a range of the file, read in pieces.
    ///
    /// A range past the end gives the checksum of what is there.
    func checksum(at start: UInt64, length: UInt64) throws(NeedleError) -> UInt32 {
        var crc: UInt32 = 0
        var done: UInt64 = 0
        var buffer = ByteBufferAllocator().buffer(capacity: DataFile.verifyPiece)
        while done < length {
            let count = Int(min(UInt64(DataFile.verifyPiece), length - done))
            buffer.clear()
            try readAppending(&buffer, file, at: start + done, count: count)
            guard buffer.readableBytes > 0 else { break }
            crc = CRC32C.checksum(buffer.readableBytesSpan, continuing: crc)
            done += UInt64(buffer.readableBytes)
        }
        return crc
    }
}
