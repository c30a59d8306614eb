public import Model
internal import NIOCore
internal import Synchronization

extension Volume {
    /// Reads a small needle that is in memory; never waits for the disk.
    ///
    /// Any thread.
    public func readCached(
        _ key: NeedleKey, cookie: UInt32, includeDeleted: Bool = false
    ) throws(NeedleError) -> ReadOutcome {
        let located: (Generation, IndexEntry)?
        do {
            located = try locate(key)
        } catch .index {
            return .wouldBlock
        }
        guard let (generation, entry) = located, includeDeleted || !entry.isDeleted else {
            return .notFound
        }
        guard let needle = try generation.data.readCached(key, entry) else { return .wouldBlock }
        return isReadable(needle, cookie) ? .found(needle) : .notFound
    }

    /// Reads a needle.
    ///
    /// Blocks on the disk; a damaged index is repaired first, which reads the whole volume.
    /// - Returns: `nil` for a needle that is unknown, deleted, expired, or has another cookie.
    public func read(
        _ key: NeedleKey, cookie: UInt32, includeDeleted: Bool = false
    ) throws(NeedleError) -> StoredNeedle? {
        guard let (generation, entry) = try locateRepairing(key),
            includeDeleted || !entry.isDeleted
        else { return nil }
        let needle = try generation.data.read(key, entry)
        return isReadable(needle, cookie) ? needle : nil
    }

    private func isReadable(_ needle: StoredNeedle, _ cookie: UInt32) -> Bool {
        // of such an empty file nobody knows the cookie any more
        let isReplayed = needle.recordSize == 0 && needle.cookie == Record.replayedCookie
        guard needle.cookie == cookie || isReplayed else { return false }
        return needle.ttl.isNone || !needle.isExpired(at: environment.now() / 1_000_000_000)
    }

    /// The newest visible entry of a key, with the generation that it belongs to.
    ///
    /// Recent needles are looked up before the index: a checkpoint stores them there before it
    /// forgets them here.
    func locate(_ key: NeedleKey) throws(NeedleError) -> (Generation, IndexEntry)? {
        let (generation, entry, isClosed) = state.withLock { state in
            (state.generation, state.recent[key] ?? state.sealed?[key], state.isClosed)
        }
        if isClosed { throw .closed(id) }
        if let entry { return (generation, entry) }
        guard let found = try generation.index.lookup(key) else { return nil }
        return (generation, found)
    }

    /// Like ``locate(_:)``; when the index is damaged it is rebuilt from the data file and asked
    /// again.
    func locateRepairing(_ key: NeedleKey) throws(NeedleError) -> (Generation, IndexEntry)? {
        do {
            return try locate(key)
        } catch .index(_, let reason) {
            try repairIndex(reason)
            return try locate(key)
        }
    }
}
