internal import Logging
internal import Model
internal import NIOCore
internal import Platform

/// Opens a volume's files and finds out what is in them (`docs/ARCHITECTURE.md`, recovery).
///
/// Opening changes nothing that the original wrote: a torn tail is cut, and stale index files go,
/// only before the first change.
struct Recovery {
    let paths: VolumePaths
    let disk: any Disk
    let logger: Logger
    /// What was found, for the start-up report.
    private(set) var report = RecoveryReport()
    /// Why the volume takes no writes, when the disk failed.
    private var fault: String?

    init(paths: VolumePaths, disk: any Disk, logger: Logger) {
        self.paths = paths
        self.disk = disk
        self.logger = logger
    }

    private var volume: VolumeID { paths.name.id }

    /// Opens the volume.
    mutating func open() throws(NeedleError) -> Volume.State {
        try finishCompaction()
        makeNamesDurable()
        let isWritable: Bool
        let file: any DiskFile
        (file, isWritable) = try openData()
        let data = try DataFile(volume: volume, opening: file)
        let length = try diskCall { () throws(DiskError) in try file.length() }
        let info = VolumeInfoFile(reading: paths.info, on: disk)
        var state: Volume.State
        if let found = try stateFromIndex(data, length) {
            state = found
        } else {
            state = try rebuilt(data, length, info)
        }
        apply(info, isWritable: isWritable, to: &state)
        report.needles = state.counts.files
        return state
    }

    private func diskCall<R>(_ body: () throws(DiskError) -> R) throws(NeedleError) -> R {
        try Needles.disk(body)
    }

    private func openData() throws(NeedleError) -> (any DiskFile, Bool) {
        do throws(DiskError) {
            return (try disk.open(paths.data, .readWrite), true)
        } catch {
            guard error.isPermission else { throw NeedleError(error) }
            return (
                try diskCall { () throws(DiskError) in try disk.open(paths.data, .read) }, false
            )
        }
    }

    /// Finishes or undoes what a compaction left behind, ours or the original's (`docs/format.md`,
    /// compaction).
    private mutating func finishCompaction() throws(NeedleError) {
        let hasCopy = disk.exists(paths.compaction)
        let hasIndex = disk.exists(paths.legacyCompactedIndex)
        let isCommitted = disk.exists(paths.legacyCommitMarker)
        guard hasCopy || hasIndex || isCommitted else { return }
        try diskCall { () throws(DiskError) in
            if isCommitted, hasIndex {
                if hasCopy { try disk.rename(paths.compaction, to: paths.data) }
                try disk.rename(paths.legacyCompactedIndex, to: paths.legacyIndex)
                try disk.syncDirectory(paths.directory)
                report.notes.append("finished a compaction that had been committed")
            } else {
                try disk.remove(paths.compaction)
                try disk.remove(paths.legacyCompactedIndex)
                report.notes.append("discarded a compaction that had not been committed")
            }
            try disk.remove(paths.legacyCommitMarker)
            try disk.syncDirectory(paths.directory)
        }
    }

    /// The state from our index, if it describes this data file; the records above its watermark
    /// are scanned.
    private mutating func stateFromIndex(
        _ data: DataFile, _ length: UInt64
    ) throws(NeedleError) -> Volume.State? {
        for number in paths.indexGenerations() {
            guard let (index, mark) = usableIndex(number, data, length) else { continue }
            for other in paths.indexGenerations() where other != number { paths.removeIndex(other) }
            let generation = Volume.Generation(number: number, data: data, index: index)
            return try scanTail(generation, mark, length)
        }
        return nil
    }

    private mutating func usableIndex(
        _ number: UInt64, _ data: DataFile, _ length: UInt64
    ) -> (NeedleIndex, Checkpoint)? {
        do throws(NeedleError) {
            let index = try NeedleIndex(volume: volume, path: paths.index(number))
            guard let mark = try index.checkpoint() else {
                report.notes.append("index generation \(number) was not finished")
                index.close()
                return nil
            }
            let fingerprint = try Volume.fingerprint(data, record: mark.lastRecord)
            guard mark.revision == data.superBlock.revision, mark.watermark <= length + 8,
                mark.fingerprint == fingerprint
            else {
                report.notes.append("index generation \(number) describes another data file")
                index.close()
                return nil
            }
            return (index, mark)
        } catch {
            report.notes.append("index generation \(number) cannot be used: \(error)")
            return nil
        }
    }

    /// Reads the records above the watermark.
    private mutating func scanTail(
        _ generation: Volume.Generation, _ mark: Checkpoint, _ length: UInt64
    ) throws(NeedleError) -> Volume.State {
        var builder = IndexBuilder(index: generation.index, data: generation.data, from: mark)
        let hints = mark.watermark < length ? try legacyHints(generation.data) : LegacyHints()
        // files of the original beside ours tell that it, or another program, may have written
        // since
        let isOwn = !paths.derived.contains { disk.exists($0) }
        let walk = try walk(
            generation.data, from: mark.watermark, to: length, hints: hints, into: &builder,
            isOwn: isOwn)
        if mark.watermark < length { try makeDurable(generation.data, walk) }
        report.scannedBytes += length - min(mark.watermark, length) - walk.zeros
        var state = Volume.State(
            generation: generation, end: walk.end, watermark: mark.watermark,
            counts: builder.counts, replication: generation.data.superBlock.replication,
            nextGeneration: generation.number + 1)
        state.recent = builder.pending
        state.lastRecord = builder.lastRecord
        prepare(&state, walk, length)
        return state
    }

    /// A process that was killed between the rename at the end of a compaction and the sync of the
    /// directory leaves a new file that a power cut takes away, with everything written to it
    /// since.
    private mutating func makeNamesDurable() {
        do throws(DiskError) {
            try disk.syncDirectory(paths.directory)
        } catch {
            guard !error.isPermission else { return }
            fault =
                "the directory could not be synced at the start (\(error)); restart after checking the disk"
        }
    }

    /// What was read may be in memory only, left by a process that was killed before its sync.
    ///
    /// Nothing may be served, and no index be built on it, that a power cut can still take away.
    ///
    /// Records of which only parts were written are made zeros, so that no later reader takes them
    /// for whole.
    private mutating func makeDurable(_ data: DataFile, _ walk: Walk) throws(NeedleError) {
        do throws(DiskError) {
            for offset in walk.torn {
                let zeros = [UInt8](repeating: 0, count: RecordHeader.length)
                try unsafe data.file.write(zeros.span.bytes, at: offset)
            }
            try data.file.sync()
        } catch {
            // a file that cannot be written has no writer either
            guard !error.isPermission, error.code != DiskError.badDescriptor else { return }
            fault =
                "the data file could not be synced at the start (\(error)); restart after "
                + "checking the disk"
        }
    }

    /// Makes a new index from the original's `.idx` if that is sound, else from the data file.
    private mutating func rebuilt(
        _ data: DataFile, _ length: UInt64, _ info: VolumeInfoFile?
    ) throws(NeedleError) -> Volume.State {
        let number = (paths.indexGenerations().first ?? 0) + 1
        for old in paths.indexGenerations() { paths.removeIndex(old) }
        let index = try NeedleIndex(volume: volume, path: paths.index(number))
        let generation = Volume.Generation(number: number, data: data, index: index)
        var builder = IndexBuilder(index: index, data: data, from: nil)
        let legacy = try LegacyIndex(
            opening: paths.legacyIndex, on: disk, data: data, declared: info?.bytesOffset)
        var walk: Walk
        if let legacy, let end = try adopt(legacy, data, length, into: &builder) {
            report.notes.append("index built from \(legacy.rows) rows of .idx")
            walk = try self.walk(data, from: end, to: length, hints: LegacyHints(), into: &builder)
            report.scannedBytes += length - end - walk.zeros
        } else {
            builder = IndexBuilder(index: index, data: data, from: nil)
            let hints = try legacyHints(data)
            let first = data.superBlock.firstRecord
            walk = try self.walk(data, from: first, to: length, hints: hints, into: &builder)
            report.scannedBytes += length - min(first, length) - walk.zeros
            if let legacy { try addLegacy(legacy, data, walk, length, into: &builder) }
            report.notes.append("index built from the data file")
            walk.isWholeFile = true
        }
        try makeDurable(data, walk)
        var mark = Checkpoint()
        mark.revision = data.superBlock.revision
        mark.watermark = walk.end
        mark.lastRecord = builder.lastRecord
        mark.counts = builder.counts
        mark.fingerprint = try Volume.fingerprint(data, record: mark.lastRecord)
        try builder.flush(mark)
        var state = Volume.State(
            generation: generation, end: walk.end, watermark: walk.end, counts: builder.counts,
            replication: data.superBlock.replication, nextGeneration: number + 1)
        state.lastRecord = builder.lastRecord
        prepare(&state, walk, length)
        return state
    }

    /// What has to be done before the first change, and whether damage forbids changes.
    private mutating func prepare(_ state: inout Volume.State, _ walk: Walk, _ length: UInt64) {
        let foreign = paths.derived.filter { disk.exists($0) }
        if walk.end < length || !foreign.isEmpty {
            state.preparation = Volume.Preparation(fileLength: length, staleFiles: foreign)
        }
        if walk.end + walk.zeros < length {
            report.notes.append(
                "\(length - walk.end) bytes behind the last whole needle, at offset \(walk.end): "
                    + "\(walk.tailReason); they are kept aside and cut off before the next write")
        }
        for damage in walk.damages { report.damages.append(damage) }
        if let first = walk.damages.first, walk.isWholeFile {
            state.readOnly = Volume.ReadOnlyState(
                reason: "\(first); \(walk.damages.count) damaged places in all; "
                    + "the other needles are served; weed compact makes the volume whole again",
                isDamage: true)
        }
    }

    private func apply(_ info: VolumeInfoFile?, isWritable: Bool, to state: inout Volume.State) {
        if let text = info?.replication, !text.isEmpty,
            let replication = try? ReplicaPlacement(parsing: text)
        {
            state.replication = replication
        }
        if let fault {
            state.readOnly = Volume.ReadOnlyState(reason: fault, isFault: true)
        } else if !isWritable {
            state.readOnly = Volume.ReadOnlyState(
                reason: "\(paths.data) is not writable for this process")
        } else if disk.exists(paths.unavailable) {
            state.readOnly = Volume.ReadOnlyState(
                reason: "\(paths.unavailable) was left by a failed write; read it, check the disk, "
                    + "then remove it and restart")
        } else if info?.readOnly == true {
            state.readOnly = Volume.ReadOnlyState(
                reason: "\(paths.info) says readOnly",
                canDelete: info?.readOnlyCanDelete ?? false)
        }
    }

    /// Notes damage of the index build in the report; used by the walk.
    mutating func note(_ text: String) { report.notes.append(text) }
}

/// What opening a volume found.
struct RecoveryReport: Sendable {
    /// Needles in the volume, replaced and deleted ones included.
    var needles: UInt64 = 0
    /// Bytes of the data file that were read.
    var scannedBytes: UInt64 = 0
    /// What was done beyond the ordinary.
    var notes: [String] = []
    /// Damaged places.
    var damages: [String] = []
}
