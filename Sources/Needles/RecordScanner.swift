internal import Model
internal import NIOCore
internal import Platform

/// A record found by scanning.
struct ScannedRecord: Equatable {
    let offset: UInt64
    let header: RecordHeader
    /// Bytes of the whole record.
    let length: UInt64
    /// Append time, unix nanoseconds; 0 before version 3.
    let appendedAt: UInt64
    /// Size 0 and our mark in the padding: an empty file, not a delete.
    let isMarkedEmpty: Bool

    var end: UInt64 { offset + length }
}

/// Walks a data file record by record and verifies each.
struct RecordScanner {
    /// What comes next.
    enum Step {
        case record(ScannedRecord)
        /// What lies at the position is no record.
        case damage(reason: String)
        case end
    }

    /// Append times of records found behind damage must lie after this (2011, in nanoseconds).
    static let earliestTime: UInt64 = 1_300_000_000_000_000_000

    let data: DataFile
    /// Where the file ends for this scan.
    let end: UInt64
    /// Where the next record is expected.
    private(set) var position: UInt64
    private var window = PositionedBuffer()
    private var buffer: ByteBuffer { window.buffer }

    init(_ data: DataFile, from position: UInt64, to end: UInt64) {
        self.data = data
        self.position = position
        self.end = end
    }

    /// The record at the position; moves behind it. Damage does not move.
    mutating func next() throws(NeedleError) -> Step {
        guard position < end else { return .end }
        let step = try examine(position)
        if case .record(let record) = step { position = record.end }
        return step
    }

    /// Moves the position without looking.
    mutating func skip(to offset: UInt64) { position = offset }

    /// After damage: the next record at a multiple of 8, at most `distance` bytes on. Moves there.
    ///
    /// Random bytes can look like a record without data, so what is found must carry a time that is
    /// possible: after `since`, and not in the future.
    mutating func resynchronise(
        since: UInt64, distance: UInt64 = .max
    ) throws(NeedleError) -> ScannedRecord? {
        let latest = WallClock.nanoseconds + 86_400_000_000_000
        let limit = distance > end - position ? end : position + distance
        // a header whose size is right names the place where the next one begins
        if let header = try header(at: position), header.isPlausible {
            let next = position + data.length(size: header.size)
            if next < limit, let record = try plausible(next, since: since, until: latest) {
                position = record.offset
                return record
            }
        }
        var candidate = position + 8
        while candidate + UInt64(RecordHeader.length) <= limit {
            if let record = try plausible(candidate, since: since, until: latest) {
                position = record.offset
                return record
            }
            candidate += 8
        }
        return nil
    }

    private mutating func plausible(
        _ offset: UInt64, since: UInt64, until: UInt64
    ) throws(NeedleError) -> ScannedRecord? {
        // a look at the size field alone rejects nearly every place
        guard let header = try header(at: offset), header.isPlausible,
            data.length(size: header.size) <= end - offset,
            case .record(let record) = try examine(offset)
        else { return nil }
        if data.version == 3 {
            return record.appendedAt >= since && record.appendedAt <= until ? record : nil
        }
        return record.header.size > 0 ? record : nil
    }

    private mutating func header(at offset: UInt64) throws(NeedleError) -> RecordHeader? {
        guard let index = try load(offset, RecordHeader.length) else { return nil }
        return RecordHeader(buffer, at: index)
    }

    private mutating func examine(_ offset: UInt64) throws(NeedleError) -> Step {
        guard let header = try header(at: offset) else {
            return .damage(reason: "\(end - offset) bytes, less than a header")
        }
        guard header.isPlausible else {
            return .damage(
                reason: header.isZero ? "zeros" : "a negative size, \(Int32(bitPattern: header.size))")
        }
        let length = data.length(size: header.size)
        let needed = RecordHeader.length + Int(header.size) + Record.footerLength(data.version)
        guard UInt64(needed) <= end - offset else {
            return .damage(
                reason: "a record of \(length) bytes, of which \(end - offset) are there")
        }
        // before anything far away is read, which makes walking through garbage quick
        guard try dataRange(offset, header) != nil else {
            return .damage(reason: "a data size that does not fit size \(header.size)")
        }
        let footer = offset + UInt64(RecordHeader.length) + UInt64(header.size)
        guard let index = try load(footer, Record.footerLength(data.version)),
            let stored = buffer.getInteger(at: index, as: UInt32.self)
        else { return .damage(reason: "no footer") }
        let time =
            data.version == 3 ? buffer.getInteger(at: index + 4, as: UInt64.self) ?? 0 : 0
        guard data.version < 3 || time != 0 else { return .damage(reason: "append time 0") }
        var marked = false
        if header.size > 0 {
            if let reason = try checkData(offset, header, stored) {
                return .damage(reason: reason)
            }
        } else {
            let padding = try load(footer + UInt64(Record.footerLength(data.version)), 4)
            marked = padding.flatMap { buffer.getInteger(at: $0, as: UInt32.self) }
                == Record.emptyMark
        }
        return .record(
            ScannedRecord(
                offset: offset, header: header, length: length, appendedAt: time,
                isMarkedEmpty: marked))
    }

    /// Where the data of a record lies, if its data size fits the size field; `nil` if not.
    private mutating func dataRange(
        _ offset: UInt64, _ header: RecordHeader
    ) throws(NeedleError) -> (start: UInt64, length: UInt64)? {
        let start = offset + UInt64(RecordHeader.length)
        guard data.version >= 2, header.size > 0 else { return (start, UInt64(header.size)) }
        guard let index = try load(start, 4),
            let length = buffer.getInteger(at: index, as: UInt32.self), length > 0,
            UInt64(length) + 4 < UInt64(header.size),
            UInt64(header.size) - 4 - UInt64(length) <= UInt64(Record.longestFields)
        else { return nil }
        return (start + 4, UInt64(length))
    }

    /// Why the data of a record is not what was written; `nil` when it is.
    private mutating func checkData(
        _ offset: UInt64, _ header: RecordHeader, _ stored: UInt32
    ) throws(NeedleError) -> String? {
        guard let (start, length) = try dataRange(offset, header) else { return "no data" }
        let crc: UInt32
        if length <= UInt64(PositionedBuffer.window), let index = try load(start, Int(length)),
            let slice = buffer.getSlice(at: index, length: Int(length))
        {
            crc = CRC32C.checksum(slice.readableBytesSpan)
        } else {
            crc = try data.checksum(at: start, length: length)
        }
        return Record.isRight(stored: stored, for: crc)
            ? nil : "checksum \(hex(stored)) over data of \(hex(crc))"
    }

    private mutating func load(_ offset: UInt64, _ count: Int) throws(NeedleError) -> Int? {
        try window.load(data.file, offset, count, end: end)
    }
}
