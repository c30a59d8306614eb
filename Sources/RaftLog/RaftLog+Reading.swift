import LMDB

extension RaftLog {
    /// Index of the first entry still in the log, 1 until it is compacted.
    public var firstIndex: UInt64 {
        get throws(RaftLogError) {
            let contents = contents
            return try contents.inspect { (txn, refuse) throws(LMDBError) in
                try contents.start(txn, &refuse).index
            }
        }
    }

    /// Index and term of the last entry, (0, 0) in a log that never had one.
    public var last: (index: UInt64, term: UInt64) {
        get throws(RaftLogError) {
            let contents = contents
            return try contents.inspect { (txn, refuse) throws(LMDBError) in
                let link = try contents.last(txn, &refuse)
                return (link.index, link.term)
            }
        }
    }

    /// Term, vote and commit as last written.
    public var hardState: HardState {
        get throws(RaftLogError) {
            let contents = contents
            return try contents.inspect { (txn, refuse) throws(LMDBError) in
                try contents.hardState(txn, &refuse)
            }
        }
    }

    /// The state as last saved, `nil` if none ever was.
    public var state: AppliedState? {
        get throws(RaftLogError) {
            let contents = contents
            return try contents.inspect { (txn, refuse) throws(LMDBError) in
                try contents.state(txn, &refuse)
            }
        }
    }

    /// Term of an entry, also of the one before the first; `nil` if the log does not know.
    public func term(at index: UInt64) throws(RaftLogError) -> UInt64? {
        let contents = contents
        return try contents.inspect { (txn, refuse) throws(LMDBError) in
            let start = try contents.start(txn, &refuse)
            if index &+ 1 == start.index { return start.previousTerm }
            return try contents.entry(index, txn, &refuse)?.entry.term
        }
    }

    /// Entries from an index on, verified, as many as both limits allow but at least one.
    ///
    /// Empty beyond the last entry. Throws `.refused` if `from` was compacted away.
    public func entries(
        from: UInt64, maxCount: Int = 128, maxBytes: Int = 1 << 20
    ) throws(RaftLogError) -> [Entry] {
        let contents = contents
        return try contents.inspect { (txn, refuse) throws(LMDBError) in
            let start = try contents.start(txn, &refuse)
            guard from >= start.index else {
                throw refuse("entry \(from) was compacted away, the first is \(start.index)")
            }
            let last = try contents.last(txn, &refuse).index
            var entries: [Entry] = []
            var bytes = 0
            var index = from
            while index <= last, entries.count < maxCount {
                guard let (entry, _) = try contents.entry(index, txn, &refuse) else { break }
                bytes += entry.payload.count
                if bytes > maxBytes, !entries.isEmpty { break }
                entries.append(entry)
                index += 1
            }
            return entries
        }
    }
}
