import LMDB

extension RaftLog {
    /// Makes a batch durable in one commit.
    ///
    /// Refused, with nothing written: entries that leave a gap or fall in term; truncation of what
    /// is committed or applied; a term or commit that falls; a second vote in a term; a state older
    /// than the stored one or ahead of the log.
    public func persist(_ batch: PersistBatch) throws(RaftLogError) {
        try checkLimits(batch.entries, batch.state)
        let contents = contents
        try contents.transact { (txn, refuse) throws(LMDBError) in
            if let from = batch.truncateFrom {
                try contents.truncate(from: from, txn, &refuse)
            }
            var link = try contents.last(txn.reading, &refuse)
            for entry in batch.entries {
                try contents.append(entry, after: &link, txn, &refuse)
            }
            if let hardState = batch.hardState {
                try contents.replace(hardState, last: link.index, txn, &refuse)
            }
            if let state = batch.state {
                try contents.replace(state, last: link.index, txn, &refuse)
            }
        }
    }

    /// Appends entries in one durable commit; see `persist`.
    public func append(_ entries: [Entry]) throws(RaftLogError) {
        try persist(PersistBatch(entries: entries))
    }

    /// Saves the state machine in one durable commit; see `persist`.
    public func saveState(appliedIndex: UInt64, blob: [UInt8]) throws(RaftLogError) {
        try persist(PersistBatch(state: AppliedState(appliedIndex: appliedIndex, blob: blob)))
    }

    /// Appends an entry, commits it and saves the state it leads to, all in one durable commit.
    ///
    /// For a master that is its cluster's only member: nobody else has to agree. The entry takes
    /// the hard state's term, or 1 if it has none, and the node votes for itself there. Returns the
    /// entry's index. The caller makes one state after the other.
    @discardableResult
    public func appendAndApply(
        type: UInt8, payload: [UInt8], state blob: [UInt8]
    ) throws(RaftLogError) -> UInt64 {
        let probe = Entry(index: 0, term: 0, type: type, payload: payload)
        try checkLimits([probe], AppliedState(appliedIndex: 0, blob: blob))
        let (contents, nodeID) = (contents, nodeID)
        return try contents.transact { (txn, refuse) throws(LMDBError) in
            var link = try contents.last(txn.reading, &refuse)
            var hardState = try contents.hardState(txn.reading, &refuse)
            if hardState.term == 0 { hardState.term = 1 }
            if hardState.vote == 0 { hardState.vote = nodeID }
            guard hardState.vote == nodeID else {
                throw refuse(
                    "term \(hardState.term) belongs to node \(Hexadecimal.text(hardState.vote)), "
                        + "this node cannot commit alone")
            }
            let entry = Entry(
                index: link.index + 1, term: hardState.term, type: type, payload: payload)
            try contents.append(entry, after: &link, txn, &refuse)
            hardState.commit = link.index
            try contents.replace(hardState, last: link.index, txn, &refuse)
            let state = AppliedState(appliedIndex: link.index, blob: blob)
            try contents.replace(state, last: link.index, txn, &refuse)
            return link.index
        }
    }

    /// Removes entries up to an index.
    ///
    /// Keeps those the saved state lacks and the last `keptEntries`. Returns the first index left.
    @discardableResult
    public func compact(upTo index: UInt64) throws(RaftLogError) -> UInt64 {
        let contents = contents
        while true {
            // One batch a round, so that a commit stays small; ends when nothing more may go.
            let (first, isDone) = try contents.transact { (txn, refuse) throws(LMDBError) in
                try contents.removeFirst(upTo: index, txn, &refuse)
            }
            if isDone { return first }
        }
    }

    private func checkLimits(
        _ entries: [Entry], _ state: AppliedState?
    ) throws(RaftLogError) {
        let path = environment.path
        guard entries.count <= Self.maxBatchEntries else {
            throw .tooLarge(
                path: path, what: "a batch", size: entries.count, limit: Self.maxBatchEntries)
        }
        for entry in entries where entry.payload.count > Self.maxPayloadBytes {
            throw .tooLarge(
                path: path, what: "an entry", size: entry.payload.count,
                limit: Self.maxPayloadBytes)
        }
        if let state, state.blob.count > Self.maxStateBytes {
            throw .tooLarge(
                path: path, what: "a state", size: state.blob.count, limit: Self.maxStateBytes)
        }
    }
}

extension Contents {
    func append(
        _ entry: Entry, after link: inout Schema.Link, _ txn: borrowing WriteTransaction,
        _ refuse: inout Refusals
    ) throws(LMDBError) {
        guard entry.index == link.index + 1 else {
            throw refuse("entry \(entry.index) does not follow entry \(link.index)")
        }
        guard entry.term >= link.term else {
            throw refuse(
                "entry \(entry.index) has term \(entry.term), below term \(link.term) before it")
        }
        let (value, crc) = Schema.encode(entry, after: link.crc)
        unsafe try txn.put(value.span.bytes, for: entry.index, in: tables.log)
        link = Schema.Link(index: entry.index, term: entry.term, crc: crc)
    }

    func truncate(
        from index: UInt64, _ txn: borrowing WriteTransaction, _ refuse: inout Refusals
    ) throws(LMDBError) {
        let commit = try hardState(txn.reading, &refuse).commit
        let applied = try state(txn.reading, &refuse)?.appliedIndex ?? 0
        let start = try start(txn.reading, &refuse).index
        guard index > commit, index > applied, index >= start else {
            throw refuse(
                "entry \(index) cannot be removed: committed up to \(commit), applied up to "
                    + "\(applied), compacted below \(start)")
        }
        let last = try last(txn.reading, &refuse).index
        guard index <= last else { return }
        for index in (index...last).reversed() { try txn.delete(index, in: tables.log) }
    }

    func replace(
        _ new: HardState, last: UInt64, _ txn: borrowing WriteTransaction,
        _ refuse: inout Refusals
    ) throws(LMDBError) {
        let old = try hardState(txn.reading, &refuse)
        guard new.term >= old.term else {
            throw refuse("term \(new.term) is below term \(old.term)")
        }
        guard new.term > old.term || old.vote == 0 || new.vote == old.vote else {
            throw refuse(
                "term \(new.term) has a vote for node \(Hexadecimal.text(old.vote)), "
                    + "a second one for \(Hexadecimal.text(new.vote)) is not allowed")
        }
        guard new.commit >= old.commit, new.commit <= last else {
            throw refuse(
                "commit \(new.commit) is not between \(old.commit) and the last entry \(last)")
        }
        if new != old { try putHardState(new, txn) }
    }

    func replace(
        _ new: AppliedState, last: UInt64, _ txn: borrowing WriteTransaction,
        _ refuse: inout Refusals
    ) throws(LMDBError) {
        let old = try state(txn.reading, &refuse)?.appliedIndex ?? 0
        guard new.appliedIndex >= old, new.appliedIndex <= last else {
            throw refuse(
                "a state of entry \(new.appliedIndex) is not between \(old) and the last entry "
                    + "\(last)")
        }
        try putState(new, txn)
    }

    /// Entries one round of compaction removes, at most.
    static let compactionBatch: UInt64 = 8192

    func removeFirst(
        upTo index: UInt64, _ txn: borrowing WriteTransaction, _ refuse: inout Refusals
    ) throws(LMDBError) -> (first: UInt64, isDone: Bool) {
        let start = try start(txn.reading, &refuse)
        let last = try last(txn.reading, &refuse).index
        let applied = try state(txn.reading, &refuse)?.appliedIndex ?? 0
        let kept = last > RaftLog.keptEntries ? last - RaftLog.keptEntries : 0
        let limit = min(index, applied, kept)
        guard limit >= start.index else { return (start.index, true) }
        let end = min(limit, start.index + Self.compactionBatch - 1)
        guard let (entry, crc) = try entry(end, txn.reading, &refuse) else {
            throw refuse(
                .damaged(path: path, record: "log", expected: "entry \(end)", found: "none"))
        }
        for index in start.index...end { try txn.delete(index, in: tables.log) }
        let next = Schema.Start(index: end + 1, previousTerm: entry.term, previousCRC: crc)
        try putStart(next, txn)
        return (next.index, end == limit)
    }
}
