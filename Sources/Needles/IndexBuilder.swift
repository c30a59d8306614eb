internal import Model

/// Puts records into an index in the order they lie in the data file, and counts them.
struct IndexBuilder {
    let index: NeedleIndex
    let data: DataFile
    /// Entries that are not in the index yet.
    private(set) var pending: [NeedleKey: IndexEntry] = [:]
    var counts: Counts
    private(set) var lastRecord: UInt64
    /// Whether `index` may hold entries of the keys that come.
    private let indexHasEntries: Bool
    private var flushed = false

    init(index: NeedleIndex, data: DataFile, from checkpoint: Checkpoint?) {
        self.index = index
        self.data = data
        counts = checkpoint?.counts ?? Counts()
        lastRecord = checkpoint?.lastRecord ?? 0
        indexHasEntries = checkpoint != nil
    }

    /// The newest entry of a key.
    func entry(_ key: NeedleKey) throws(NeedleError) -> IndexEntry? {
        if let entry = pending[key] { return entry }
        guard indexHasEntries || flushed, key <= counts.maxKey else { return nil }
        return try index.lookup(key)
    }

    /// Applies one record.
    mutating func apply(_ record: ScannedRecord, isDelete: Bool) throws(NeedleError) {
        let key = record.header.id
        let old = try entry(key)
        counts.count(
            key: key, old: old, oldLength: old.map { data.length(size: $0.size) } ?? 0,
            ownLength: record.length, isDelete: isDelete, appendedAt: record.appendedAt)
        lastRecord = record.offset
        if isDelete {
            if var old {
                old.isDeleted = true
                pending[key] = old
            }
        } else {
            pending[key] = IndexEntry(offset: record.offset, size: record.header.size)
        }
        if pending.count >= NeedleIndex.buildBatch { try flush(nil) }
    }

    /// Sets an entry without a record: what the original's index knows and the data file does not.
    mutating func set(_ key: NeedleKey, _ entry: IndexEntry) throws(NeedleError) {
        counts.maxKey = max(counts.maxKey, key)
        pending[key] = entry
        if pending.count >= NeedleIndex.buildBatch { try flush(nil) }
    }

    /// Notes the last record when entries came without a scan.
    mutating func noteLastRecord(_ offset: UInt64) { lastRecord = offset }

    /// Stores what is pending.
    mutating func flush(_ checkpoint: Checkpoint?) throws(NeedleError) {
        let sorted = pending.sorted { $0.key < $1.key }.map { (key: $0.key, entry: $0.value) }
        try index.commit(sorted, checkpoint)
        flushed = true
        pending.removeAll(keepingCapacity: false)
    }
}
