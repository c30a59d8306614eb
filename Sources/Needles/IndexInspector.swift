public import Model
internal import NIOCore
internal import Platform

/// Looks into the index of a volume without changing anything; also while a server uses it.
public struct IndexInspector {
    /// What an index holds.
    public struct Statistics: Sendable, Equatable {
        /// The index file.
        public let path: String
        /// Entries, and how many of them are of deleted needles.
        public let entries, deleted: Int
        /// Depth of the tree, and bytes of the file in use.
        public let depth, usedBytes: Int
        /// Bytes of data of live needles, as records.
        public let liveBytes: UInt64
        /// Every record below this offset is in the index.
        public let watermark: UInt64
        /// Length of the data file.
        public let dataLength: UInt64
        /// Compaction revision that the index describes.
        public let revision: UInt16
        /// Largest key.
        public let maxKey: NeedleKey
    }

    /// Where a needle lies.
    public struct Location: Sendable, Equatable {
        /// Byte offset of its record.
        public let offset: UInt64
        /// Size field S of the record.
        public let size: UInt32
        /// Whether it was deleted.
        public let isDeleted: Bool
        /// Whether it lies above the watermark and was found by scanning.
        public let isAboveWatermark: Bool
        /// Cookie in the record.
        public let cookie: UInt32
    }

    /// What a verification found.
    public struct Verification: Sendable, Equatable {
        /// Records read, and entries compared.
        public var records = 0, entries = 0
        /// Problems in all.
        public var problemCount = 0
        /// The first problems, as sentences.
        public var problems: [String] = []

        mutating func add(_ problem: String) {
            problemCount += 1
            if problems.count < 100 { problems.append(problem) }
        }
    }

    let paths: VolumePaths
    let data: DataFile
    let index: NeedleIndex
    let mark: Checkpoint
    let length: UInt64

    /// Opens data file and newest index of a volume for reading.
    public init(directory: String, name: VolumeName) throws(NeedleError) {
        paths = VolumePaths(directory: directory, indexDirectory: directory, name: name)
        let paths = paths
        let file = try disk { () throws(DiskError) in try PosixDisk().open(paths.data, .read) }
        data = try DataFile(volume: name.id, opening: file)
        length = try disk { () throws(DiskError) in try file.length() }
        var found: (NeedleIndex, Checkpoint)?
        for number in paths.indexGenerations() where found == nil {
            let index = try NeedleIndex(
                volume: name.id, path: paths.index(number), readOnly: true)
            if let mark = try index.checkpoint(), mark.revision == data.superBlock.revision {
                found = (index, mark)
            }
        }
        guard let (index, mark) = found else {
            throw .invalid(
                "volume \(name.id) has no index for its data file yet; a server makes it when it opens "
                    + "the volume")
        }
        self.index = index
        self.mark = mark
    }

    /// Counts and sizes; walks the whole index.
    public func statistics() throws(NeedleError) -> Statistics {
        let counts = try index.statistics()
        var deleted = 0
        var live: UInt64 = 0
        try index.forEach { (_, entry) throws(NeedleError) in
            guard let entry else { return }
            if entry.isDeleted { deleted += 1 } else { live += data.length(size: entry.size) }
        }
        return Statistics(
            path: index.path, entries: counts.entries, deleted: deleted, depth: counts.depth,
            usedBytes: counts.usedBytes, liveBytes: live, watermark: mark.watermark,
            dataLength: length, revision: mark.revision, maxKey: mark.counts.maxKey)
    }

    /// Where a needle lies; `nil` when it is unknown.
    ///
    /// Scans what lies above the watermark.
    public func location(of key: NeedleKey) throws(NeedleError) -> Location? {
        var entry = try index.lookup(key)
        var isAbove = false
        var scanner = RecordScanner(data, from: mark.watermark, to: length)
        while case .record(let record) = try scanner.next() {
            guard record.header.id == key else { continue }
            isAbove = true
            if record.header.size == 0, !record.isMarkedEmpty {
                entry?.isDeleted = true
            } else {
                entry = IndexEntry(offset: record.offset, size: record.header.size)
            }
        }
        guard let entry else { return nil }
        let cookie = try data.header(at: entry.offset)?.cookie ?? 0
        return Location(
            offset: entry.offset, size: entry.size, isDeleted: entry.isDeleted,
            isAboveWatermark: isAbove, cookie: cookie)
    }

    /// Compares index and data file both ways: every entry must name a record that verifies, every
    /// record must be named by its entry or be older than it.
    ///
    /// Reads the whole data file.
    public func verify() throws(NeedleError) -> Verification {
        var result = Verification()
        try verifyEntries(&result)
        var scanner = RecordScanner(data, from: data.superBlock.firstRecord, to: length)
        while true {
            switch try scanner.next() {
            case .end: return result
            case .record(let record):
                result.records += 1
                if record.offset < mark.watermark { try compare(record, &result) }
            case .damage(let reason):
                let place = scanner.position
                if try data.isZero(from: place, to: length) { return result }
                let since = RecordScanner.earliestTime
                let next = try scanner.resynchronise(since: since)
                result.add(
                    "at offset \(place) of \(paths.data) expected a needle, found \(reason)"
                        + (next.map { "; the next one is at \($0.offset)" } ?? "; nothing follows"))
                if next == nil { return result }
            }
        }
    }

    private func verifyEntries(_ result: inout Verification) throws(NeedleError) {
        var reader = HeaderReader(data: data, length: length)
        var found = result
        try index.forEach { (key, entry) throws(NeedleError) in
            found.entries += 1
            guard let entry else {
                return found.add("the entry of needle \(hex(key)) has a wrong checksum")
            }
            let header = try reader.header(at: entry.offset)
            if header?.id != key || header?.size != entry.size {
                let text = header.map { "needle \(hex($0.id)) of size \($0.size)" } ?? "nothing"
                found.add(
                    "the index has needle \(hex(key)) of size \(entry.size) at offset \(entry.offset), "
                        + "there is \(text)")
            }
        }
        result = found
    }

    private func compare(
        _ record: ScannedRecord, _ result: inout Verification
    ) throws(NeedleError) {
        let key = record.header.id
        let isDelete = record.header.size == 0 && !record.isMarkedEmpty
        guard let entry = try? index.lookup(key) else {
            if !isDelete {
                result.add("needle \(hex(key)) at offset \(record.offset) is not in the index")
            }
            return
        }
        if entry.offset == record.offset { return }
        if entry.offset < record.offset, !isDelete || !entry.isDeleted {
            result.add(
                "the index has needle \(hex(key)) at offset \(entry.offset), a newer "
                    + "\(isDelete ? "delete" : "record") is at \(record.offset)")
        }
    }

    /// Writes the original's index, `.idx` rows of 17 bytes, one for every record in file order.
    ///
    /// Needed to hand a volume with empty files to the original.
    /// - Returns: rows written.
    public func export(to path: String) throws(NeedleError) -> Int {
        let file = try disk { () throws(DiskError) in
            try PosixDisk().open(path + ".tmp", .createOrTruncate)
        }
        var scanner = RecordScanner(data, from: data.superBlock.firstRecord, to: length)
        var buffer = ByteBuffer()
        var rows = 0
        var written: UInt64 = 0
        while true {
            let step = try scanner.next()
            if case .record(let record) = step {
                LegacyIndex.append(try row(record), to: &buffer)
                rows += 1
                guard buffer.readableBytes >= LegacyIndex.piece else { continue }
                let place = written
                try disk { () throws(DiskError) in
                    try file.write(buffer.readableBytesSpan, at: place)
                }
                written += UInt64(buffer.readableBytes)
                buffer.clear()
            } else if case .damage = step {
                let since = RecordScanner.earliestTime
                if try scanner.resynchronise(since: since) == nil { break }
            } else {
                break
            }
        }
        let place = written
        try disk { () throws(DiskError) in
            try file.write(buffer.readableBytesSpan, at: place)
            try file.sync()
            try PosixDisk().rename(path + ".tmp", to: path)
        }
        return rows
    }

    private func row(_ record: ScannedRecord) throws(NeedleError) -> LegacyIndex.Row {
        var size = Int32(bitPattern: record.header.size)
        if size == 0, !record.isMarkedEmpty {
            let entry = try index.lookup(record.header.id)
            let isEmptyFile = entry.map { $0.offset == record.offset && !$0.isDeleted } ?? false
            if !isEmptyFile { size = -1 }
        }
        return LegacyIndex.Row(key: record.header.id, offset: record.offset, size: size)
    }
}

/// Locks a directory of volumes for as long as it lives, so that no server starts on it.
public struct OfflineDirectory: Sendable {
    private let lock: DirectoryLock

    /// Locks `path`; throws ``NeedleError/inUse(directory:pid:)`` while a server runs.
    public init(_ path: String) throws(NeedleError) {
        lock = try DirectoryLock.engine(path)
    }
}
