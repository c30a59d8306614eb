internal import Logging
internal import Model
internal import NIOCore
internal import Platform
internal import Synchronization

extension Volume {
    /// Queues a checkpoint when enough has been written since the last.
    func checkpointIfDue() {
        let due = state.withLock { state in
            guard !state.checkpointQueued,
                state.recent.count >= Volume.checkpointEntries
                    || state.end - state.watermark >= Volume.checkpointBytes
            else { return false }
            state.checkpointQueued = true
            return true
        }
        if due { queueCheckpoint() }
    }

    /// Has a maintenance thread make a checkpoint; the caller has set `checkpointQueued`.
    func queueCheckpoint() {
        environment.maintainers.submit {
            do throws(NeedleError) {
                try self.checkpoint()
            } catch {
                self.environment.logger.error(
                    "volume \(self.id): the index was not brought up to date, will be tried again: \(error)"
                )
            }
            self.state.withLock { $0.checkpointQueued = false }
        }
    }

    /// Brings the index up to date with everything visible, durably.
    ///
    /// Blocks.
    ///
    /// Order: data file synced, then entries and watermark in one transaction, then the recent
    /// needles are forgotten (`docs/ARCHITECTURE.md`, write path).
    public func checkpoint() throws(NeedleError) {
        let result = maintenance.withLock { _ in
            Result { () throws(NeedleError) in try checkpointLocked() }
        }
        try result.get()
    }

    /// ``checkpoint()`` for a caller that holds `maintenance`.
    func checkpointLocked() throws(NeedleError) {
        let (generation, sealed, checkpoint, isDirty) = state.withLock { state in
            // an earlier attempt that failed left its needles sealed
            if let earlier = state.sealed {
                state.sealed = earlier.merging(state.recent) { _, new in new }
            } else {
                state.sealed = state.recent
            }
            state.recent = [:]
            var checkpoint = Checkpoint()
            checkpoint.revision = state.generation.data.superBlock.revision
            checkpoint.watermark = state.end
            checkpoint.lastRecord = state.lastRecord
            checkpoint.counts = state.counts
            let isDirty = state.isDirty
            state.isDirty = false
            return (state.generation, state.sealed ?? [:], checkpoint, isDirty)
        }
        var mark = checkpoint
        // unless every batch is synced, one that another thread began may not have returned yet
        if isDirty || environment.sync != .always { try sync(generation.data) }
        mark.fingerprint = try Volume.fingerprint(generation.data, record: checkpoint.lastRecord)
        let sorted = sealed.sorted { $0.key < $1.key }.map { (key: $0.key, entry: $0.value) }
        try generation.index.commit(sorted, mark)
        state.withLock { state in
            guard state.generation === generation else { return }
            state.sealed = nil
            state.watermark = mark.watermark
        }
    }

    /// Cuts off the zeros behind the last record, those too that a crash left before this start.
    ///
    /// On the commit thread. Zeros that stay do no harm, so a failure is only told.
    func giveBackRunway() {
        let (generation, end, isFaulty, found) = state.withLock { state in
            // what lies in a volume of the original is left as it is until it is changed
            let own = state.preparation.flatMap { $0.staleFiles.isEmpty ? $0.fileLength : nil }
            return (state.generation, state.end, state.readOnly?.isFault ?? false, own)
        }
        guard !isFaulty else { return }
        do throws(NeedleError) {
            let data = generation.data
            try disk { () throws(DiskError) in try data.runway.giveBack(data.file, end: end) }
            guard let found, found > end, try data.isZero(from: end, to: found) else { return }
            try disk { () throws(DiskError) in try data.file.truncate(to: end) }
            state.withLock { $0.preparation = nil }
        } catch {
            environment.logger.warning(
                "volume \(id): the zeros behind the last record stay: \(error)")
        }
    }

    /// Syncs what was written without a sync; after a failure the volume is read-only.
    func syncIfDirty() throws(NeedleError) {
        let (data, isDirty) = state.withLock { state in
            defer { state.isDirty = false }
            return (state.generation.data, state.isDirty)
        }
        if isDirty { try sync(data) }
    }

    func sync(_ data: DataFile) throws(NeedleError) {
        do throws(DiskError) {
            try data.file.sync()
        } catch {
            becomeReadOnly("fsync failed (\(error)); restart after checking the disk")
            throw NeedleError(error)
        }
    }

    /// CRC-32C over header and footer of a record, 0 when there is no record.
    ///
    /// Tells at the next start whether the data file is still the one that was indexed.
    static func fingerprint(_ data: DataFile, record offset: UInt64) throws(NeedleError) -> UInt32 {
        guard offset > 0 else { return 0 }
        let head = try readBuffer(data.file, at: offset, count: RecordHeader.length)
        guard let header = RecordHeader(head, at: 0), header.isPlausible || header.size == 0 else {
            return 0
        }
        let footer = try readBuffer(
            data.file, at: offset + UInt64(RecordHeader.length) + UInt64(header.size),
            count: Record.footerLength(data.version))
        let crc = CRC32C.checksum(head.readableBytesSpan)
        return CRC32C.checksum(footer.readableBytesSpan, continuing: crc)
    }

    /// Answers what waits, brings the index up to date, and takes nothing more.
    ///
    /// Blocks.
    public func close() {
        queue.withLock { $0.isClosed = true }
        let finished: Result<Void, NeedleError> = Result { () throws(NeedleError) in
            try exclusively { () throws(NeedleError) in
                try self.syncIfDirty()
                self.giveBackRunway()
            }
            if state.withLock({ $0.end > $0.watermark }) { try checkpoint() }
        }
        if case .failure(let error) = finished {
            environment.logger.error(
                "volume \(id): not everything was tidied at the stop; the next start will: \(error)"
            )
        }
        // a repair under way ends first; none begins afterwards
        maintenance.withLock { _ in
            let generation = state.withLock { state in
                state.isClosed = true
                return state.generation
            }
            generation.index.close()
        }
    }
}
