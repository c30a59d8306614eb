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
    /// Size 0 and our seal says so: an empty file, not a delete.
    let isMarkedEmpty: Bool
    /// If it is one of ours, a power cut left only parts of it.
    var isTorn = false
    /// Whose record it is.
    var seal = RecordSeal.foreign

    var end: UInt64 { offset + length }
}

/// What the padding of a record says; see ``Record/seal(crc:isDelete:)``.
enum RecordSeal: Equatable {
    /// Ours, and everything but the data is as it was written.
    case own
    /// What the original writes there.
    case foreign
    /// Neither.
    case broken
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

    /// Torn records that are remembered; behind so many the rest of a tail is not worth the memory.
    static let rememberedTornRecords = 65_536

    let data: DataFile
    /// Where the file ends for this scan.
    let end: UInt64
    /// Every record is ours or the original's: one with a broken seal was torn by a power cut.
    let rejectsBrokenSeals: Bool
    /// Where records with broken seals were rejected.
    private var torn: [UInt64] = []
    /// Where the next record is expected.
    private(set) var position: UInt64
    private var window = PositionedBuffer()
    private var buffer: ByteBuffer { window.buffer }

    init(
        _ data: DataFile, from position: UInt64, to end: UInt64, rejectsBrokenSeals: Bool = false
    ) {
        self.data = data
        // the seals of older formats are not told from what the original writes there
        self.rejectsBrokenSeals = rejectsBrokenSeals && data.version == 3
        self.position = position
        self.end = end
    }

    /// The record at the position; moves behind it.
    ///
    /// Damage does not move.
    mutating func next() throws(NeedleError) -> Step {
        guard position < end else { return .end }
        let step = try examine(position)
        if case .record(let record) = step {
            if rejects(record) {
                return .damage(reason: "a record of which only parts were written")
            }
            position = record.end
        }
        return step
    }

    /// Moves the position without looking.
    mutating func skip(to offset: UInt64) { position = offset }

    /// Where records with broken seals were rejected, if their headers end before `offset`.
    mutating func takeTorn(before offset: UInt64) -> [UInt64] {
        defer { torn = [] }
        return torn.filter { $0 + UInt64(RecordHeader.length) <= offset }
    }

    /// After damage: the next record at a multiple of 8, at most `distance` bytes on.
    ///
    /// Moves there.
    ///
    /// Random bytes can look like a record without data, so what is found must carry a time that is
    /// possible: after `since`, and not in the future.
    mutating func resynchronise(
        since: UInt64, distance: UInt64 = .max
    ) throws(NeedleError) -> ScannedRecord? {
        let latest = WallClock.nanoseconds + 86_400_000_000_000
        let limit = distance > end - position ? end : position + distance
        var checksums = RangeChecksums(data.file, from: position)
        for next in try likelyEnds() where next < limit {
            if let record = try plausible(next, since, latest, &checksums) {
                position = record.offset
                return record
            }
        }
        var candidate = position + 8
        while candidate + UInt64(RecordHeader.length) <= limit {
            if let record = try plausible(candidate, since, latest, &checksums) {
                position = record.offset
                return record
            }
            candidate += 8
        }
        return nil
    }

    /// Where the damaged record at the position ends if one of its sizes is right: the size field;
    /// or the data size, which the checksum behind data and fields confirms.
    ///
    /// Without them, records inside a stored file would be taken for needles.
    private mutating func likelyEnds() throws(NeedleError) -> [UInt64] {
        guard let header = try header(at: position) else { return [] }
        var ends: [UInt64] = []
        if header.isPlausible { ends.append(position + data.length(size: header.size)) }
        let start = position + UInt64(RecordHeader.length) + 4
        guard data.version >= 2, let index = try load(start - 4, 4),
            let length = buffer.getInteger(at: index, as: UInt32.self), length > 0,
            start + UInt64(length) < end
        else { return ends }
        let place = start + UInt64(length)
        let count = Int(min(UInt64(Record.longestFields + 4), end - place))
        guard let found = try load(place, count),
            let fields = RecordFields(buffer.getSlice(at: found, length: count) ?? ByteBuffer()),
            let stored = buffer.getInteger(at: found + fields.length, as: UInt32.self)
        else { return ends }
        let size = UInt64(length) + 4 + UInt64(fields.length)
        guard size <= Record.largestSize,
            Record.isRight(
                stored: stored, for: try data.checksum(at: start, length: UInt64(length)))
        else { return ends }
        ends.insert(position + data.length(size: UInt32(size)), at: 0)
        return ends
    }

    private mutating func plausible(
        _ offset: UInt64, _ since: UInt64, _ until: UInt64, _ checksums: inout RangeChecksums
    ) throws(NeedleError) -> ScannedRecord? {
        // a look at the size field alone rejects nearly every place
        guard let header = try header(at: offset), header.isPlausible,
            data.length(size: header.size) <= end - offset,
            try isRight(offset, header, &checksums),
            case .record(let record) = try examine(offset)
        else { return nil }
        if data.version == 3 {
            // a checksum that is right needs no possible time; a clock may have been wrong once
            let isProven = record.seal == .own && record.header.size > 0
            guard isProven || record.appendedAt <= until,
                record.appendedAt >= RecordScanner.earliestTime, !rejects(record, since: since)
            else { return nil }
            return record.appendedAt >= since ? record : nil
        }
        return record.header.size > 0 ? record : nil
    }

    /// Whether the checksum of a record that may begin at `offset` is right, at little cost.
    private mutating func isRight(
        _ offset: UInt64, _ header: RecordHeader, _ checksums: inout RangeChecksums
    ) throws(NeedleError) -> Bool {
        guard header.size > 0 else { return true }
        guard let (start, length) = try dataRange(offset, header) else { return false }
        let footer = offset + UInt64(RecordHeader.length) + UInt64(header.size)
        let found = try readBuffer(data.file, at: footer, count: 4)
        guard let stored = found.getInteger(at: 0, as: UInt32.self),
            let crc = try checksums.checksum(at: start, length: length)
        else { return false }
        return Record.isRight(stored: stored, for: crc)
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
                reason: header.isZero
                    ? "zeros" : "a negative size, \(Int32(bitPattern: header.size))")
        }
        let length = data.length(size: header.size)
        let needed = RecordHeader.length + Int(header.size) + Record.footerLength(data.version)
        guard UInt64(needed) <= end - offset else {
            return .damage(
                reason: "a record of \(length) bytes, of which \(end - offset) are there")
        }
        // before anything far away is read, which makes walking through garbage quick
        guard let (start, dataLength) = try dataRange(offset, header) else {
            return .damage(reason: "a data size that does not fit size \(header.size)")
        }
        guard let footer = try footer(offset, header, dataLength) else {
            return .damage(reason: "no footer")
        }
        guard data.version < 3 || footer.time != 0 else {
            return .damage(reason: "append time 0")
        }
        if header.size > 0, let reason = try checkData(start, dataLength, footer.checksum) {
            return .damage(reason: reason)
        }
        return .record(
            ScannedRecord(
                offset: offset, header: header, length: length, appendedAt: footer.time,
                isMarkedEmpty: header.size == 0 && footer.seal == .own && !footer.isDelete,
                isTorn: footer.isTorn(header, offset + length <= end), seal: footer.seal))
    }

    /// Whether a record is to be passed over because a power cut left only parts of it.
    ///
    /// Behind damage times rise: one that is too early only because its last bytes are zeros was
    /// cut, and the seal behind it with it, which can leave what the original has there.
    private mutating func rejects(_ record: ScannedRecord, since: UInt64 = 0) -> Bool {
        guard rejectsBrokenSeals else { return false }
        let time = record.appendedAt
        let lost = UInt64(8 * (time.trailingZeroBitCount / 8))
        let isCut = time < since && record.seal == .foreign && time | ((1 << lost) &- 1) >= since
        guard record.isTorn || isCut else { return false }
        if torn.count < RecordScanner.rememberedTornRecords { torn.append(record.offset) }
        return true
    }

    private struct Footer {
        var checksum: UInt32
        var time: UInt64
        var seal: RecordSeal
        var isDelete: Bool

        /// Whether a power cut left only parts of the record, of which `isLong` says that it does
        /// not end behind the file.
        ///
        /// Without its last eight bytes ours has zeros for a padding, as the original has in
        /// deletes.
        func isTorn(_ header: RecordHeader, _ isLong: Bool) -> Bool {
            if seal == .broken { return true }
            guard header.size == 0 else { return false }
            return !isLong || seal == .foreign && UInt32(truncatingIfNeeded: time) == 0
        }
    }

    /// Everything behind the data of a record.
    private mutating func footer(
        _ offset: UInt64, _ header: RecordHeader, _ dataLength: UInt64
    ) throws(NeedleError) -> Footer? {
        let headLength = RecordHeader.length + (data.version >= 2 && header.size > 0 ? 4 : 0)
        guard let headIndex = try load(offset, headLength),
            let head = buffer.getSlice(at: headIndex, length: headLength)
        else { return nil }
        var crc = CRC32C.checksum(head.readableBytesSpan)
        let fields = RecordHeader.length + Int(header.size) - headLength - Int(dataLength)
        let covered = fields + Record.footerLength(data.version)
        let place = offset + UInt64(headLength) + dataLength
        let room = end - place - UInt64(covered)
        var padding = Int(
            min(UInt64(Record.padding(size: header.size, version: data.version)), room))
        var found = try load(place, covered + padding)
        if found == nil {
            // a last record that lacks padding: the file ends before the scan does
            padding = 0
            found = try load(place, covered)
        }
        guard let index = found, let part = buffer.getSlice(at: index, length: covered),
            let checksum = buffer.getInteger(at: index + fields, as: UInt32.self)
        else { return nil }
        crc = CRC32C.checksum(part.readableBytesSpan, continuing: crc)
        let time =
            data.version == 3 ? buffer.getInteger(at: index + fields + 4, as: UInt64.self) ?? 0 : 0
        let rest = index + covered
        let isDelete =
            header.size == 0
            && hasPadding(Record.seal(crc: crc, isDelete: true), at: rest, padding)
        let isOwn =
            isDelete || hasPadding(Record.seal(crc: crc, isDelete: false), at: rest, padding)
        let isForeign = !isOwn && hasPadding(header.size, at: rest, padding)
        return Footer(
            checksum: checksum, time: time, seal: isOwn ? .own : isForeign ? .foreign : .broken,
            isDelete: isDelete)
    }

    /// Whether the padding at `index` is a word and zeros, as far as it has room.
    private func hasPadding(_ word: UInt32, at index: Int, _ count: Int) -> Bool {
        for i in 0..<count {
            let expected = i < 4 ? UInt8(truncatingIfNeeded: word >> UInt32(24 - 8 * i)) : 0
            guard buffer.getInteger(at: index + i, as: UInt8.self) == expected else { return false }
        }
        return true
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
        _ start: UInt64, _ length: UInt64, _ stored: UInt32
    ) throws(NeedleError) -> String? {
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
