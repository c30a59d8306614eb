public import Model
internal import NIOCore
internal import Synchronization

extension Volume {
    /// Where copies of the volume are to be.
    public var replication: ReplicaPlacement { state.withLock { $0.replication } }

    /// Whether writes are refused.
    public var isReadOnly: Bool { state.withLock { $0.readOnly != nil } }

    /// Whether not even deletes are taken, until the volume is opened again or repaired.
    public var isFrozen: Bool {
        state.withLock { state in state.readOnly.map { !$0.canDelete } ?? false }
    }

    /// Whether there is, or was, a needle of that key; deleted ones are known until compaction.
    ///
    /// May wait for the disk when the index is not in memory.
    public func isKnown(_ key: NeedleKey) throws(NeedleError) -> Bool {
        try locate(key) != nil
    }

    /// Whether a needle is a chunk manifest, without reading its data.
    ///
    /// `false` for one that is not there. Blocks.
    public func isChunkManifest(
        _ key: NeedleKey, cookie: UInt32
    ) throws(NeedleError) -> Bool {
        guard let (generation, entry) = try locateRepairing(key), !entry.isDeleted,
            entry.size > 4, generation.data.version > 1
        else { return false }
        let head = try readBuffer(
            generation.data.file, at: entry.offset, count: RecordHeader.length + 4)
        guard let header = RecordHeader(head, at: 0), header.id == key, header.cookie == cookie,
            let length = head.getInteger(at: RecordHeader.length, as: UInt32.self),
            UInt64(length) + 4 < UInt64(entry.size)
        else { return false }
        let place = entry.offset + UInt64(RecordHeader.length) + 4 + UInt64(length)
        let flags = try readBuffer(generation.data.file, at: place, count: 1)
        guard let bits = flags.getInteger(at: 0, as: UInt8.self) else { return false }
        return Record.Flags(rawValue: bits).contains(.chunkManifest)
    }
}
