internal import Model
internal import NIOCore
internal import Platform
internal import Synchronization

extension Volume {
    /// Bytes that may be left to copy when the switch stops writes.
    static let switchBytes: UInt64 = 256 << 10
    /// Rounds of catching up before the switch, if writes come faster than they are copied.
    static let catchUpRounds = 8

    /// Copies the live needles aside.
    ///
    /// Blocks, at the store's pace; reads, writes and deletes go on.
    ///
    /// Nothing changes for readers until ``commitCompaction()``. Space for the copy is reserved
    /// first.
    public func compact() throws(NeedleError) {
        let begun = state.withLock { state in
            guard !state.isClosed, !state.isCompacting else { return false }
            state.isCompacting = true
            return true
        }
        guard begun else { throw .invalid("volume \(id) is being compacted already") }
        do throws(NeedleError) {
            try exclusively { () throws(NeedleError) in try self.prepareForChange() }
            try checkpoint()
            let progress: CompactionProgress
            do throws(NeedleError) {
                progress = try copyAside()
            } catch .index(_, let reason) {
                try repairIndex(reason)
                progress = try copyAside()
            }
            compaction.withLock { $0 = progress }
        } catch {
            abandon(nil)
            throw error
        }
    }

    /// Switches to the copy that ``compact()`` made.
    ///
    /// Writes wait for the last few records to be copied.
    /// - Returns: how long writes waited, in nanoseconds.
    @discardableResult
    public func commitCompaction() throws(NeedleError) -> UInt64 {
        let taken = compaction.withLock { waiting in
            defer { waiting = nil }
            return waiting
        }
        guard let progress = taken else {
            throw .invalid("volume \(id) has no compaction to commit")
        }
        do throws(NeedleError) {
            let waited = try finish(progress)
            state.withLock { $0.isCompacting = false }
            environment.onChange()
            return waited
        } catch {
            if progress.isSwitched {
                state.withLock { $0.isCompacting = false }
            } else {
                abandon(progress)
            }
            throw error
        }
    }

    /// Gives a compaction up.
    public func discardCompaction() {
        let taken = compaction.withLock { waiting in
            defer { waiting = nil }
            return waiting
        }
        if let taken { abandon(taken) }
    }

    private func abandon(_ progress: CompactionProgress?) {
        if let progress {
            progress.target.index.close()
            paths.removeIndex(progress.target.number)
        }
        // after the switch there is no copy any more
        try? environment.disk.remove(paths.compaction)
        state.withLock { $0.isCompacting = false }
    }

    private func copyAside() throws(NeedleError) -> CompactionProgress {
        let source = state.withLock { $0.generation }
        let from = state.withLock { $0.watermark }
        var superBlock = source.data.superBlock
        superBlock.revision &+= 1
        superBlock.extraLength = 0
        let number = takeGenerationNumber()
        let live = state.withLock { $0.end - min($0.counts.deletedBytes, $0.end) }
        let (file, block) = try makeCopy(superBlock, live)
        let target = DataFile(volume: id, file: file, superBlock: block)
        let index = try NeedleIndex(volume: id, path: paths.index(number))
        var copier = CompactionCopier(
            source: source.data, target: target, index: index,
            bytesPerSecond: environment.compactionBytesPerSecond)
        let now = environment.now() / 1_000_000_000
        do throws(NeedleError) {
            let entries = try source.index.statistics().entries
            var seen = 0
            try source.index.forEach { (key, entry) throws(NeedleError) in
                seen += 1
                guard let entry else {
                    throw .index(id, "the entry of needle \(hex(key)) has a wrong checksum")
                }
                // what was written meanwhile follows when catching up
                if !entry.isDeleted, entry.offset < from {
                    try copier.copyLive(key, entry, now: now)
                }
            }
            // LMDB's pages carry no checksums: a damaged branch could hide needles from the walk
            guard seen >= entries else {
                throw .index(id, "\(entries) entries are counted, \(seen) are found")
            }
            try copier.flush()
            try disk { () throws(DiskError) in try file.sync() }
        } catch {
            index.close()
            paths.removeIndex(number)
            throw error
        }
        return CompactionProgress(
            source: source, target: Generation(number: number, data: target, index: index),
            copier: copier, copied: from)
    }

    private func makeCopy(
        _ superBlock: SuperBlock, _ bytes: UInt64
    ) throws(NeedleError) -> (any DiskFile, SuperBlock) {
        let file = try disk { () throws(DiskError) in
            let space = try environment.disk.space(at: paths.directory)
            guard space.available > bytes else {
                throw DiskError(
                    call: "compaction needs \(bytes) bytes", path: paths.compaction,
                    code: DiskError.deviceFull)
            }
            let file = try environment.disk.open(paths.compaction, .createOrTruncate)
            try file.reserve(at: 0, length: bytes)
            try unsafe file.write(superBlock.bytes.span.bytes, at: 0)
            return file
        }
        return (file, superBlock)
    }

    /// Copies the records appended since the last round.
    private func catchUp(
        _ progress: CompactionProgress, to end: UInt64
    ) throws(NeedleError) {
        var scanner = RecordScanner(progress.source.data, from: progress.copied, to: end)
        while true {
            switch try scanner.next() {
            case .end:
                try progress.copier.flush()
                progress.copied = end
                return
            case .record(let record):
                try progress.copier.copyLater(record)
            case .damage(let reason):
                throw .damaged(
                    id, offset: scanner.position, expected: "a needle written a moment ago",
                    found: reason)
            }
        }
    }

    private func finish(_ progress: CompactionProgress) throws(NeedleError) -> UInt64 {
        let target = progress.target
        for _ in 0..<Volume.catchUpRounds {
            let end = state.withLock { $0.end }
            if end - progress.copied < Volume.switchBytes { break }
            try catchUp(progress, to: end)
            try progress.copier.builder.flush(nil)
            try disk { () throws(DiskError) in try target.data.file.sync() }
        }
        // what is left for the switch is small: everything slow happens before it
        try progress.copier.flush()
        try progress.copier.builder.flush(nil)
        let copied = progress.copier.end
        try disk { () throws(DiskError) in
            // the reservation may have been larger than what was needed
            try target.data.file.truncate(to: copied)
            try target.data.file.sync()
        }
        return try exclusively { () throws(NeedleError) in
            let began = WallClock.nanoseconds
            try self.switchOver(progress)
            return WallClock.nanoseconds - began
        }
    }

    /// The switch, with no write under way: last records, sync, index, rename, directory.
    ///
    /// The rename is the commit point: before it the old file and index stand, after it the new
    /// ones.
    private func switchOver(_ progress: CompactionProgress) throws(NeedleError) {
        let target = progress.target
        let end = state.withLock { $0.end }
        try catchUp(progress, to: end)
        try disk { () throws(DiskError) in try target.data.file.sync() }
        var counts = progress.copier.builder.counts
        counts.maxKey = max(counts.maxKey, state.withLock { $0.counts.maxKey })
        counts.lastAppend = max(counts.lastAppend, state.withLock { $0.counts.lastAppend })
        var mark = Checkpoint()
        mark.revision = target.data.superBlock.revision
        mark.watermark = progress.copier.end
        mark.lastRecord = progress.copier.builder.lastRecord
        mark.counts = counts
        mark.fingerprint = try Volume.fingerprint(target.data, record: mark.lastRecord)
        try progress.copier.builder.flush(mark)
        try disk { () throws(DiskError) in
            try environment.disk.rename(paths.compaction, to: paths.data)
        }
        let final = mark
        let replaced = state.withLock { state in
            let replaced = state.generation.number
            state.generation = target
            state.recent = [:]
            state.sealed = nil
            state.end = final.watermark
            state.watermark = final.watermark
            state.lastRecord = final.lastRecord
            state.counts = final.counts
            state.isDirty = false
            if state.readOnly?.isDamage == true {
                state.readOnly = nil
            }
            return replaced
        }
        progress.isSwitched = true
        // From the rename on, what is appended to the old file is lost. Should the rename not
        // become durable, the old file and its index must still be there at the next start, and
        // nothing acknowledged in between.
        do throws(DiskError) {
            try environment.disk.syncDirectory(paths.directory)
        } catch {
            becomeReadOnly(
                "the switch after a compaction could not be made durable (\(error)); restart after "
                    + "checking the disk")
            throw NeedleError(error)
        }
        paths.removeIndex(replaced)
    }
}
