internal import Model
internal import NIOCore
internal import Platform
internal import Synchronization

/// What one `write` and one `sync` bring to disk.
///
/// Used on the commit thread only.
///
/// Nothing of a batch is visible before all of it is as durable as asked; if any part fails, all of
/// it does.
struct CommitBatch {
    /// Bytes in memory after which a batch is closed.
    static let bytes = 4 << 20

    private struct Staged {
        var entry: IndexEntry
        var cookie: UInt32
    }

    private let volume: Volume
    private let generation: Volume.Generation
    private let readOnly: Volume.ReadOnlyState?
    private let start: UInt64
    /// Records not written yet, and where they go.
    private var buffer = ByteBuffer()
    private var bufferStart: UInt64
    private var lastRecord: UInt64
    private var counts: Counts
    private var staged: [NeedleKey: Staged] = [:]
    /// Large records and their checksums, computed over the bytes that the system still holds: the
    /// next read need not do it again.
    private var verified: [(record: UInt64, checksum: UInt32)] = []
    private var answers: [(NeedleError?) -> Void] = []
    private var mustSync: Bool
    private var forcesEarlier = false
    private var failure: NeedleError?

    init(volume: Volume) {
        self.volume = volume
        let state = volume.state.withLock {
            ($0.generation, $0.readOnly, $0.end, $0.lastRecord, $0.counts)
        }
        (generation, readOnly, start, lastRecord, counts) = state
        bufferStart = start
        mustSync = volume.environment.sync == .always
    }

    private var data: DataFile { generation.data }
    private var position: UInt64 { bufferStart + UInt64(buffer.readableBytes) }

    /// A time above all earlier ones (`docs/format.md`, append time).
    private func nextTime() -> UInt64 { max(volume.environment.now(), counts.lastAppend + 1) }

    /// Takes an operation into the batch, or answers it when nothing has to be written.
    mutating func stage(_ operation: Operation) {
        if let failure { return operation.fail(failure) }
        do throws(NeedleError) {
            switch operation {
            case .write(let write): try stage(write)
            case .delete(let delete): try stage(delete)
            case .exclusive: preconditionFailure("exclusive work is not part of a batch")
            }
        } catch {
            operation.fail(error)
        }
    }

    private mutating func stage(_ write: Operation.Write) throws(NeedleError) {
        if let readOnly { throw .readOnly(volume.id, reason: readOnly.reason) }
        let old = try existing(write.key)
        if let old {
            if let cookie = old.cookie, cookie != write.cookie {
                throw .cookieMismatch(volume.id, write.key, write.cookie)
            }
            if !old.entry.isDeleted, staged[write.key] == nil,
                let receipt = try unchanged(write, old.entry)
            {
                // what is there already may have been written without a sync
                forcesEarlier = forcesEarlier || write.forceSync
                answers.append { write.completion($0.map { .failure($0) } ?? .success(receipt)) }
                return
            }
        }
        let now = nextTime()
        let offset = position
        let size: UInt32
        switch write.content.body {
        case .bytes: size = try stage(write, offset, now)
        case .spool(let spool): size = try append(write, spool, offset, now)
        }
        let length = data.length(size: size)
        mustSync = mustSync || write.forceSync
        count(write.key, old?.entry, offset, length, isDelete: false, now)
        staged[write.key] = Staged(
            entry: IndexEntry(offset: offset, size: size), cookie: write.cookie)
        let receipt = WriteReceipt(
            recordSize: size, checksum: write.checksum, isUnchanged: false)
        answers.append { write.completion($0.map { .failure($0) } ?? .success(receipt)) }
    }

    /// Adds a record to the buffer.
    /// - Returns: its size field S.
    private mutating func stage(
        _ write: Operation.Write, _ offset: UInt64, _ now: UInt64
    ) throws(NeedleError) -> UInt32 {
        let before = buffer.writerIndex
        buffer.reserveCapacity(minimumWritableBytes: Int(write.content.body.length) + 256)
        let size = try Record.encode(
            (write.key, write.cookie), write.content, checksum: write.checksum,
            version: data.version, volumeTTL: data.superBlock.ttl, now: now, into: &buffer
        ).size
        do throws(NeedleError) {
            try checkRoom(offset, data.length(size: size))
        } catch {
            buffer.moveWriterIndex(to: before)
            throw error
        }
        return size
    }

    private func checkRoom(_ offset: UInt64, _ length: UInt64) throws(NeedleError) {
        guard offset + length <= IndexEntry.largestOffset else {
            throw .volumeFull(volume.id, size: offset)
        }
    }

    private mutating func stage(_ delete: Operation.Delete) throws(NeedleError) {
        guard let old = try existing(delete.key), !old.entry.isDeleted else {
            throw .notFound(volume.id, delete.key)
        }
        if let cookie = old.cookie, cookie != delete.cookie {
            throw .cookieMismatch(volume.id, delete.key, delete.cookie)
        }
        if staged[delete.key] == nil, isExpired(delete.key, old.entry) {
            throw .notFound(volume.id, delete.key)
        }
        let now = nextTime()
        let offset = position
        let length = data.length(size: 0)
        try checkRoom(offset, length)
        Record.encodeDelete(
            key: delete.key, cookie: delete.cookie, version: data.version, now: now, into: &buffer)
        count(delete.key, old.entry, offset, length, isDelete: true, now)
        var entry = old.entry
        entry.isDeleted = true
        staged[delete.key] = Staged(entry: entry, cookie: delete.cookie)
        let size = old.entry.size
        answers.append { delete.completion($0.map { .failure($0) } ?? .success(size)) }
    }

    private mutating func count(
        _ key: NeedleKey, _ old: IndexEntry?, _ offset: UInt64, _ length: UInt64, isDelete: Bool,
        _ now: UInt64
    ) {
        counts.count(
            key: key, old: old, oldLength: old.map { data.length(size: $0.size) } ?? 0,
            ownLength: length, isDelete: isDelete, appendedAt: now)
        lastRecord = offset
    }

    /// The newest entry of a key and its cookie; the cookie is `nil` when nobody knows it: the
    /// record is damaged, so that a new write can mend it, or the original's compaction replaced
    /// it.
    private func existing(
        _ key: NeedleKey
    ) throws(NeedleError) -> (entry: IndexEntry, cookie: UInt32?)? {
        if let known = staged[key] { return (known.entry, known.cookie) }
        guard key <= counts.maxKey, let (_, entry) = try volume.locateRepairing(key) else {
            return nil
        }
        guard let header = try data.header(at: entry.offset), header.id == key,
            header.size > 0 || header.cookie != Record.replayedCookie
        else { return (entry, nil) }
        return (entry, header.cookie)
    }

    /// The receipt of a write that would change nothing.
    ///
    /// Volumes with a ttl append again: it starts anew.
    private func unchanged(
        _ write: Operation.Write, _ entry: IndexEntry
    ) throws(NeedleError) -> WriteReceipt? {
        guard data.superBlock.ttl.isNone, write.content.ttl.isNone,
            case .bytes(let bytes) = write.content.body, bytes.readableBytes > 0,
            entry.size >= bytes.readableBytes,
            Int(entry.size) - bytes.readableBytes <= Record.longestFields + 4,
            entry.size <= UInt32(Volume.largeBodyBytes),
            let old = try? data.read(write.key, entry), old.checksum == write.checksum,
            case .bytes(let stored) = old.body, stored == bytes, old.ttl.isNone,
            old.isCompressed == write.content.isCompressed,
            old.isChunkManifest == write.content.isChunkManifest,
            old.name.map({ String(buffer: $0) }) == write.content.name,
            old.mime.map({ String(buffer: $0) }) == write.content.mime,
            old.pairs.map({ String(buffer: $0) }) == write.content.pairs,
            write.content.lastModified == nil || write.content.lastModified == old.lastModified
        else { return nil }
        return WriteReceipt(
            recordSize: entry.size, checksum: write.checksum, isUnchanged: true)
    }

    private func isExpired(_ key: NeedleKey, _ entry: IndexEntry) -> Bool {
        guard entry.size > 0, entry.size <= UInt32(Volume.largeBodyBytes),
            let needle = try? data.read(key, entry)
        else { return false }
        return needle.isExpired(at: volume.environment.now() / 1_000_000_000)
    }

    /// Writes a record whose data lies in a spool, after what is buffered.
    /// - Returns: its size field S.
    private mutating func append(
        _ write: Operation.Write, _ spool: Spool, _ offset: UInt64, _ now: UInt64
    ) throws(NeedleError) -> UInt32 {
        var record = ByteBuffer()
        let (size, headLength) = try Record.encode(
            (write.key, write.cookie), write.content, checksum: write.checksum,
            version: data.version, volumeTTL: data.superBlock.ttl, now: now, into: &record)
        let length = data.length(size: size)
        try checkRoom(offset, length)
        flush()
        if let failure { throw failure }
        let bytes = record.readableBytesSpan
        let dataStart = offset + UInt64(headLength)
        do throws(DiskError) {
            try data.file.reserve(at: offset, length: length)
            try data.file.write(bytes.extracting(0..<headLength), at: offset)
            try data.file.copy(from: spool.file, at: 0, to: dataStart, length: spool.length)
            try data.file.write(
                bytes.extracting(headLength..<bytes.byteCount), at: dataStart + spool.length)
            bufferStart = offset + length
        } catch {
            throw fail(error)
        }
        if size > UInt32(Volume.largeBodyBytes) { verified.append((offset, write.checksum)) }
        return size
    }

    private mutating func flush() {
        guard failure == nil, buffer.readableBytes > 0 else { return }
        do throws(DiskError) {
            try data.file.write(buffer.readableBytesSpan, at: bufferStart)
            bufferStart += UInt64(buffer.readableBytes)
            buffer.clear()
        } catch {
            fail(error)
        }
    }

    /// After a failed write: the file is cut back to where the batch began, and nothing of it
    /// happened.
    @discardableResult
    private mutating func fail(_ error: DiskError) -> NeedleError {
        let reason = NeedleError(error)
        failure = reason
        data.runway.forget()
        do throws(DiskError) {
            try data.file.truncate(to: start)
            // else a power cut could bring the cut bytes back between those of the next batch
            try data.file.sync()
        } catch {
            volume.becomeReadOnly(
                "a failed write could not be undone (\(error)); restart after checking the disk")
        }
        if !error.isNoSpace {
            volume.becomeReadOnly("writing failed (\(error)); restart after checking the disk")
        }
        return reason
    }

    /// Writes, syncs, publishes, answers.
    mutating func finish() {
        flush()
        let isChanged = position > start
        if failure == nil, isChanged && mustSync || forcesEarlier {
            if isChanged {
                data.runway.extend(data.file, group: start..<position, volume.environment.runway)
            }
            do throws(DiskError) {
                try data.file.sync()
            } catch {
                // what the system dropped is unknown: never try again as if nothing had happened
                failure = NeedleError(error)
                volume.becomeReadOnly("fsync failed (\(error)); restart after checking the disk")
            }
        }
        if failure == nil, isChanged { publish() }
        for answer in answers { answer(failure) }
    }

    private func publish() {
        for known in verified { data.remember(known.checksum, record: known.record) }
        volume.state.withLock { state in
            for (key, known) in staged { state.recent[key] = known.entry }
            state.end = position
            state.lastRecord = lastRecord
            state.counts = counts
            state.isDirty = state.isDirty || !mustSync
        }
    }
}
