internal import Logging
internal import Model
internal import NIOCore
internal import Platform
internal import Synchronization

extension Volume {
    /// What must be done before the first change of a volume, kept until then so that opening and
    /// reading change nothing.
    struct Preparation: Sendable {
        /// Length of the data file as found; what lies beyond the last needle is cut off.
        var fileLength: UInt64
        /// The original's index files, which the first change makes stale.
        var staleFiles: [String]
    }

    /// Does what ``Preparation`` says, once.
    ///
    /// On the commit thread.
    ///
    /// Order: cut bytes are copied aside before they are cut; what only `.idx` knows is written
    /// into the data file and the index is durable before `.idx` is removed. A crash in between
    /// repeats the steps.
    func prepareForChange() throws(NeedleError) {
        let (preparation, generation, end) = state.withLock {
            ($0.preparation, $0.generation, $0.end)
        }
        guard let preparation else { return }
        if preparation.fileLength > end {
            try cutTail(generation.data, at: end, length: preparation.fileLength)
        }
        if !preparation.staleFiles.isEmpty {
            try writeDownLegacyKnowledge(generation)
            let result = maintenance.withLock { _ in
                Result { () throws(NeedleError) in try checkpointLocked() }
            }
            try result.get()
            try disk { () throws(DiskError) in
                for path in preparation.staleFiles { try environment.disk.remove(path) }
                try environment.disk.syncDirectory(paths.directory)
            }
            environment.logger.info(
                """
                volume \(id): removed index files of the original, which this change makes stale: \
                \(preparation.staleFiles.joined(separator: ", "))
                """)
        }
        state.withLock { $0.preparation = nil }
    }

    /// Copies the bytes behind the last needle aside, unless they are all zeros, and cuts them off.
    private func cutTail(
        _ data: DataFile, at end: UInt64, length: UInt64
    ) throws(NeedleError) {
        if try !data.isZero(from: end, to: length) {
            let path = paths.torn(at: end)
            try disk { () throws(DiskError) in
                let copy = try environment.disk.open(path, .createOrTruncate)
                try copy.copy(from: data.file, at: end, to: 0, length: length - end)
                try copy.sync()
                try environment.disk.syncDirectory(paths.directory)
            }
            environment.logger.warning(
                "volume \(id): \(length - end) bytes at offset \(end) are no whole needle; kept in \(path)"
            )
        }
        try disk { () throws(DiskError) in try data.file.truncate(to: end) }
        try sync(data)
    }

    /// Appends marked records for empty files, and delete records for deletes, that only `.idx`
    /// knows, so that the data file alone says everything.
    private func writeDownLegacyKnowledge(_ generation: Generation) throws(NeedleError) {
        let data = generation.data
        guard
            let legacy = try LegacyIndex(
                opening: paths.legacyIndex, on: environment.disk, data: data, declared: nil)
        else { return }
        var special = Set<NeedleKey>()
        let end = state.withLock { $0.end }
        try legacy.forEachRow { (row) throws(NeedleError) in
            if row.size == 0 || row.offset == 0 || row.isDelete && row.offset >= end {
                special.insert(row.key)
            } else {
                special.remove(row.key)
            }
        }
        var buffer = ByteBuffer()
        var changes: [NeedleKey: IndexEntry] = [:]
        var counts = state.withLock { $0.counts }
        var lastRecord: UInt64?
        for key in special.sorted() {
            guard let (_, entry) = try locateRepairing(key) else { continue }
            guard entry.isDeleted || entry.size == 0, let old = try data.header(at: entry.offset),
                old.id == key
            else { continue }
            let offset = end + UInt64(buffer.readableBytes)
            let now = max(environment.now(), counts.lastAppend + 1)
            counts.lastAppend = now
            if entry.isDeleted {
                Record.encodeDelete(
                    key: key, cookie: old.cookie, version: data.version, now: now, into: &buffer)
            } else {
                _ = try Record.encode(
                    (key, old.cookie), NeedleContent(body: .bytes(ByteBuffer())), checksum: 0,
                    version: data.version, volumeTTL: .none, now: now, into: &buffer)
                changes[key] = IndexEntry(offset: offset, size: 0)
            }
            lastRecord = offset
        }
        guard buffer.readableBytes > 0 else { return }
        try disk { () throws(DiskError) in
            try data.file.write(buffer.readableBytesSpan, at: end)
        }
        try sync(data)
        let (newCounts, newLast, newChanges) = (counts, lastRecord ?? 0, changes)
        state.withLock { state in
            state.end = end + UInt64(buffer.readableBytes)
            state.counts = newCounts
            state.lastRecord = newLast
            state.recent.merge(newChanges) { _, new in new }
        }
    }
}
