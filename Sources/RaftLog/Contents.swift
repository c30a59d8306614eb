import LMDB

/// The records of the tables, read inside transactions.
struct Contents {
    let environment: Environment
    let tables: RaftLog.Tables
    var path: String { environment.path }

    /// Carries an error of ours out of a transaction, whose own errors are the database's.
    struct Refusals {
        let path: String
        var error: RaftLogError?

        /// What cannot follow what is stored.
        mutating func callAsFunction(_ reason: String) -> LMDBError {
            self(.refused(path: path, reason: reason))
        }

        mutating func callAsFunction(_ error: RaftLogError) -> LMDBError {
            self.error = error
            return .rejected(path: path, reason: error.description)
        }

        /// Runs what throws our errors.
        mutating func passing<R>(
            _ body: () throws(RaftLogError) -> R
        ) throws(LMDBError) -> R {
            do throws(RaftLogError) { return try body() } catch { throw self(error) }
        }
    }

    /// Runs `body` in one durable transaction; it may run again.
    func transact<R>(
        _ body: (borrowing WriteTransaction, inout Refusals) throws(LMDBError) -> R
    ) throws(RaftLogError) -> R {
        var refusals = Refusals(path: path)
        do throws(LMDBError) {
            return try environment.write { txn throws(LMDBError) in
                refusals.error = nil
                return try body(txn, &refusals)
            }
        } catch {
            throw refusals.error ?? RaftLogError(error)
        }
    }

    /// Runs `body` on a snapshot.
    func inspect<R>(
        _ body: (borrowing ReadTransaction, inout Refusals) throws(LMDBError) -> R
    ) throws(RaftLogError) -> R {
        var refusals = Refusals(path: path)
        do throws(LMDBError) {
            return try environment.read { txn throws(LMDBError) in try body(txn, &refusals) }
        } catch {
            throw refusals.error ?? RaftLogError(error)
        }
    }
}

// Records of `meta` and `sm`.
extension Contents {
    private func fields(
        _ name: Schema.Meta, count: Int, _ txn: borrowing ReadTransaction,
        _ refuse: inout Refusals
    ) throws(LMDBError) -> [UInt8]? {
        let key = Array(name.rawValue.utf8)
        guard let value = unsafe try txn.value(for: key.span.bytes, in: tables.meta) else {
            return nil
        }
        return try refuse.passing { () throws(RaftLogError) in
            try Schema.decode(name, value, count: count, path: path)
        }
    }

    private func required(
        _ name: Schema.Meta, count: Int, _ txn: borrowing ReadTransaction,
        _ refuse: inout Refusals
    ) throws(LMDBError) -> [UInt8] {
        guard let fields = try fields(name, count: count, txn, &refuse) else {
            throw refuse(
                .damaged(
                    path: path, record: "meta record \(name.rawValue)", expected: "a value",
                    found: "none"))
        }
        return fields
    }

    private func put(
        _ name: Schema.Meta, _ fields: [UInt8], _ txn: borrowing WriteTransaction
    ) throws(LMDBError) {
        let key = Array(name.rawValue.utf8)
        let value = Schema.encode(name, fields)
        unsafe try txn.put(value.span.bytes, for: key.span.bytes, in: tables.meta)
    }

    func version(
        _ txn: borrowing ReadTransaction, _ refuse: inout Refusals
    ) throws(LMDBError) -> UInt32 {
        try required(.version, count: 4, txn, &refuse).number(at: 0)
    }

    func nodeID(
        _ txn: borrowing ReadTransaction, _ refuse: inout Refusals
    ) throws(LMDBError) -> UInt64 {
        try required(.nodeID, count: 8, txn, &refuse).number(at: 0)
    }

    func clusterID(
        _ txn: borrowing ReadTransaction, _ refuse: inout Refusals
    ) throws(LMDBError) -> ClusterID? {
        guard let fields = try fields(.clusterID, count: 16, txn, &refuse) else { return nil }
        return ClusterID(high: fields.number(at: 0), low: fields.number(at: 8))
    }

    func putClusterID(
        _ id: ClusterID, _ txn: borrowing WriteTransaction
    ) throws(LMDBError) {
        var fields: [UInt8] = []
        fields.append(number: id.high)
        fields.append(number: id.low)
        try put(.clusterID, fields, txn)
    }

    func hardState(
        _ txn: borrowing ReadTransaction, _ refuse: inout Refusals
    ) throws(LMDBError) -> HardState {
        let fields = try required(.hardState, count: 24, txn, &refuse)
        return HardState(
            term: fields.number(at: 0), vote: fields.number(at: 8), commit: fields.number(at: 16))
    }

    func putHardState(
        _ state: HardState, _ txn: borrowing WriteTransaction
    ) throws(LMDBError) {
        var fields: [UInt8] = []
        fields.append(number: state.term)
        fields.append(number: state.vote)
        fields.append(number: state.commit)
        try put(.hardState, fields, txn)
    }

    func start(
        _ txn: borrowing ReadTransaction, _ refuse: inout Refusals
    ) throws(LMDBError) -> Schema.Start {
        let fields = try required(.firstIndex, count: 20, txn, &refuse)
        return Schema.Start(
            index: fields.number(at: 0), previousTerm: fields.number(at: 8),
            previousCRC: fields.number(at: 16))
    }

    func putStart(
        _ start: Schema.Start, _ txn: borrowing WriteTransaction
    ) throws(LMDBError) {
        var fields: [UInt8] = []
        fields.append(number: start.index)
        fields.append(number: start.previousTerm)
        fields.append(number: start.previousCRC)
        try put(.firstIndex, fields, txn)
    }

    func state(
        _ txn: borrowing ReadTransaction, _ refuse: inout Refusals
    ) throws(LMDBError) -> AppliedState? {
        let key = Array(Schema.stateKey.utf8)
        guard let value = unsafe try txn.value(for: key.span.bytes, in: tables.state) else {
            return nil
        }
        return try refuse.passing { () throws(RaftLogError) in
            try Schema.decodeState(value, path: path)
        }
    }

    func putState(
        _ state: AppliedState, _ txn: borrowing WriteTransaction
    ) throws(LMDBError) {
        let key = Array(Schema.stateKey.utf8)
        let value = Schema.encode(state)
        unsafe try txn.put(value.span.bytes, for: key.span.bytes, in: tables.state)
    }

    /// The first records of a new directory.
    func begin() throws(RaftLogError) -> (node: UInt64, cluster: ClusterID?) {
        let node = UInt64.random(in: 1 ... .max)
        try transact { (txn, _) throws(LMDBError) in
            var version: [UInt8] = []
            version.append(number: Schema.version)
            try put(.version, version, txn)
            var name: [UInt8] = []
            name.append(number: node)
            try put(.nodeID, name, txn)
            try putStart(Schema.Start(), txn)
            try putHardState(HardState(), txn)
        }
        return (node, nil)
    }
}

// Records of `log`.
extension Contents {
    /// The entry at an index, verified, `nil` if it is not there.
    func entry(
        _ index: UInt64, _ txn: borrowing ReadTransaction, _ refuse: inout Refusals
    ) throws(LMDBError) -> (entry: Entry, crc: UInt32)? {
        guard let value = try txn.value(for: index, in: tables.log) else { return nil }
        return try refuse.passing { () throws(RaftLogError) in
            let decoded = try Schema.decode(value, index: index, path: path)
            return (decoded.entry, decoded.crc)
        }
    }

    /// The last entry's place in the chain; that of the entry before the first if the log is empty.
    func last(
        _ txn: borrowing ReadTransaction, _ refuse: inout Refusals
    ) throws(LMDBError) -> Schema.Link {
        if let index = try txn.lastKey(in: tables.log),
            let (entry, crc) = try entry(index, txn, &refuse)
        {
            return Schema.Link(index: index, term: entry.term, crc: crc)
        }
        let start = try start(txn, &refuse)
        return Schema.Link(
            index: start.index - 1, term: start.previousTerm, crc: start.previousCRC)
    }
}
