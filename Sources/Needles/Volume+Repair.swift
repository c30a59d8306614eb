internal import Logging
internal import Model
internal import Platform
internal import Synchronization

extension Volume {
    /// Builds the index anew from the data file, into a new file, and switches to it.
    ///
    /// Blocks for as long as reading the whole volume takes; reads that need no index go on, and
    /// writes too.
    func repairIndex(_ reason: String) throws(NeedleError) {
        let before = state.withLock { $0.generation }
        let result = maintenance.withLock { _ in
            Result { () throws(NeedleError) in try repairLocked(before, reason) }
        }
        try result.get()
    }

    private func repairLocked(_ damaged: Generation, _ reason: String) throws(NeedleError) {
        let (current, end, isClosed) = state.withLock { ($0.generation, $0.end, $0.isClosed) }
        if isClosed { throw .closed(id) }
        // somebody else mended it while this caller waited
        guard current === damaged else { return }
        environment.logger.error(
            "volume \(id): \(reason); building the index anew from the data file")
        let number = takeGenerationNumber()
        let index = try NeedleIndex(volume: id, path: paths.index(number))
        var recovery = Recovery(
            paths: paths, disk: environment.disk, logger: environment.logger)
        var builder = IndexBuilder(index: index, data: current.data, from: nil)
        let hints = try recovery.legacyHints(current.data)
        let walk = try recovery.walk(
            current.data, from: current.data.superBlock.firstRecord, to: end, hints: hints,
            into: &builder)
        var mark = Checkpoint()
        mark.revision = current.data.superBlock.revision
        mark.watermark = walk.end
        mark.lastRecord = builder.lastRecord
        mark.counts = builder.counts
        mark.fingerprint = try Volume.fingerprint(current.data, record: mark.lastRecord)
        // the index must never be durable ahead of the data
        if environment.sync != .always { try sync(current.data) }
        try builder.flush(mark)
        let generation = Generation(number: number, data: current.data, index: index)
        let watermark = mark.watermark
        let isCurrent = state.withLock { state in
            // a compaction may have switched meanwhile, to an index that is sound
            guard state.generation === current else { return false }
            state.generation = generation
            state.watermark = watermark
            return true
        }
        guard isCurrent else { return paths.removeIndex(number) }
        paths.removeIndex(current.number)
        for damage in walk.damages { environment.logger.error("\(damage)") }
        environment.logger.notice(
            "volume \(id): index built anew, \(builder.counts.files) needles, \(end) bytes read")
    }
}
