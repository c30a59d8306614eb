internal import Model
internal import NIOCore
internal import Platform

/// What the original's `.idx` knows and the data file cannot say.
struct LegacyHints {
    /// Offsets of records without data that are empty files, not deletes.
    var emptyFiles: Set<UInt64> = []
}

extension Recovery {
    /// What a walk through a data file found.
    struct Walk {
        /// Behind the last whole record.
        var end: UInt64
        /// Why the walk ended before the file did.
        var tailReason = ""
        /// Zeros at the end of the file: a runway, or what a power cut left of an append.
        var zeros: UInt64 = 0
        /// Damage with whole records behind it.
        var damages: [String] = []
        /// Whether the walk began at the first record.
        var isWholeFile = false
        /// Where records lie of which a power cut left only parts.
        var torn: [UInt64] = []
    }

    /// Applies every record between two offsets; damage is skipped if a record follows it.
    mutating func walk(
        _ data: DataFile, from start: UInt64, to length: UInt64, hints: LegacyHints,
        into builder: inout IndexBuilder, isOwn: Bool = false
    ) throws(NeedleError) -> Walk {
        var scanner = RecordScanner(
            data, from: start, to: length, rejectsBrokenSeals: isOwn)
        // a last record that lacks only padding ends behind the file: what follows it still starts
        // there
        var walk = Walk(end: start)
        // behind a watermark times rise; a compacted file is in the order of ids
        let isTail = start > data.superBlock.firstRecord
        while true {
            switch try scanner.next() {
            case .end:
                return walk
            case .record(let record):
                try apply(record, hints, &builder)
                walk.end = record.end
            case .damage(let reason):
                let place = scanner.position
                if try data.isZero(from: place, to: length) {
                    walk.zeros = length - place
                    return walk
                }
                let since = isTail ? builder.counts.lastAppend : RecordScanner.earliestTime
                guard let record = try scanner.resynchronise(since: since) else {
                    walk.tailReason = reason
                    walk.torn += scanner.takeTorn(before: length)
                    return walk
                }
                builder.counts.damagedBytes += record.offset - place
                walk.torn += scanner.takeTorn(before: record.offset)
                walk.damages.append(
                    "volume \(data.volume): at offset \(place) expected a needle, found \(reason); "
                        + "the next one was found at offset \(record.offset)")
            }
        }
    }

    private func apply(
        _ record: ScannedRecord, _ hints: LegacyHints, _ builder: inout IndexBuilder
    ) throws(NeedleError) {
        let isDelete =
            record.header.size == 0 && !record.isMarkedEmpty
            && !hints.emptyFiles.contains(record.offset)
        try builder.apply(record, isDelete: isDelete)
    }

    /// Reads from `.idx`, if there is one, which records without data are files.
    func legacyHints(_ data: DataFile) throws(NeedleError) -> LegacyHints {
        var hints = LegacyHints()
        guard
            let legacy = try LegacyIndex(
                opening: paths.legacyIndex, on: disk, data: data,
                declared: VolumeInfoFile(reading: paths.info, on: disk)?.bytesOffset)
        else { return hints }
        try legacy.forEachRow { (row) throws(NeedleError) in
            if row.offset > 0, row.size == 0 { hints.emptyFiles.insert(row.offset) }
        }
        return hints
    }

    /// Takes the state from `.idx` by position, if every row names a record that is there.
    /// - Returns: where the last record named ends; `nil` when the rows cannot be trusted.
    mutating func adopt(
        _ legacy: LegacyIndex, _ data: DataFile, _ length: UInt64, into builder: inout IndexBuilder
    ) throws(NeedleError) -> UInt64? {
        guard legacy.tornBytes == 0, legacy.rows > 0 || length <= data.superBlock.firstRecord else {
            return nil
        }
        var end = data.superBlock.firstRecord
        var reader = HeaderReader(data: data, length: length)
        var isSound = true
        var last: UInt64 = 0
        try legacy.forEachRow { (row) throws(NeedleError) in
            guard isSound else { return }
            guard row.offset > 0, let header = try reader.header(at: row.offset),
                header.id == row.key, header.size == (row.isDelete ? 0 : UInt32(row.size)),
                let time = try reader.appendTime(at: row.offset, size: header.size),
                row.offset + data.length(size: header.size) <= length
            else {
                isSound = false
                return
            }
            let record = ScannedRecord(
                offset: row.offset, header: header, length: data.length(size: header.size),
                appendedAt: time, isMarkedEmpty: false)
            try builder.apply(record, isDelete: row.isDelete)
            if record.end >= end {
                end = record.end
                last = record.offset
            }
        }
        builder.noteLastRecord(last)
        return isSound ? end : nil
    }

    /// After a walk: adds what only `.idx` knows.
    ///
    /// Needles it names whose records are damaged stay known, so that reading them is an error and
    /// not "no such file"; deletes whose records are gone stay deletes.
    mutating func addLegacy(
        _ legacy: LegacyIndex, _ data: DataFile, _ walk: Walk, _ length: UInt64,
        into builder: inout IndexBuilder
    ) throws(NeedleError) {
        var lastRows: [NeedleKey: LegacyIndex.Row] = [:]
        try legacy.forEachRow { (row) throws(NeedleError) in
            let known = try builder.entry(row.key)
            let agrees =
                row.isDelete
                ? known?.isDeleted ?? true
                : known.map { $0.offset >= row.offset } ?? false
            // only rows that disagree with the data file are remembered
            if agrees { lastRows[row.key] = nil } else { lastRows[row.key] = row }
        }
        for (key, row) in lastRows.sorted(by: { $0.key < $1.key }) {
            if var known = try builder.entry(key) {
                if row.isDelete, row.offset == 0 || row.offset > known.offset {
                    known.isDeleted = true
                    try builder.set(key, known)
                }
            } else if !row.isDelete {
                try builder.set(key, IndexEntry(offset: row.offset, size: UInt32(row.size)))
                note("needle \(hex(key)) is in .idx but no whole record of it is in the data file")
            }
        }
    }
}

/// Reads headers in the order of an index, through a window.
struct HeaderReader {
    let data: DataFile
    let length: UInt64
    private var scannerBuffer = PositionedBuffer()

    init(data: DataFile, length: UInt64) {
        self.data = data
        self.length = length
    }

    mutating func header(at offset: UInt64) throws(NeedleError) -> RecordHeader? {
        guard offset < length, length - offset >= UInt64(RecordHeader.length) else { return nil }
        let index = try scannerBuffer.load(data.file, offset, RecordHeader.length, end: length)
        return index.flatMap { RecordHeader(scannerBuffer.buffer, at: $0) }
    }

    /// The append time of a record, 0 before version 3; `nil` past the end.
    mutating func appendTime(at offset: UInt64, size: UInt32) throws(NeedleError) -> UInt64? {
        guard data.version == 3 else { return 0 }
        let place = offset + UInt64(RecordHeader.length) + UInt64(size) + 4
        guard place < length, length - place >= 8 else { return nil }
        let index = try scannerBuffer.load(data.file, place, 8, end: length)
        return index.flatMap { scannerBuffer.buffer.getInteger(at: $0, as: UInt64.self) }
    }
}
