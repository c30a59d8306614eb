import LMDB

extension Contents {
    /// Whose log this is; `nil` when nothing was ever written to it.
    func identity() throws(RaftLogError) -> (node: UInt64, cluster: ClusterID?)? {
        try inspect { (txn, refuse) throws(LMDBError) in
            var records = 0
            for table in [tables.meta, tables.log, tables.state] {
                records += try txn.statistics(of: table).entries
            }
            if records == 0 { return nil }
            let version = try version(txn, &refuse)
            guard version <= Schema.version else {
                throw refuse(.unknownVersion(path: path, record: "the log", version: version))
            }
            return (try nodeID(txn, &refuse), try clusterID(txn, &refuse))
        }
    }

    /// Reads everything: checksums, chain, order of indexes and terms, what points into the log.
    func verify() throws(RaftLogError) {
        try inspect { (txn, refuse) throws(LMDBError) in
            let start = try start(txn, &refuse)
            guard start.index > 0 else { throw refuse(damage("first_index", "above 0", "0")) }
            var link = Schema.Link(
                index: start.index - 1, term: start.previousTerm, crc: start.previousCRC)
            try verifyChain(from: &link, txn, &refuse)
            let hardState = try hardState(txn, &refuse)
            guard hardState.commit <= link.index else {
                throw refuse(
                    damage("hard_state", "commit up to \(link.index)", "\(hardState.commit)"))
            }
            guard let state = try state(txn, &refuse) else {
                guard start.index == 1 else {
                    throw refuse(damage("state", "one, the log begins at \(start.index)", "none"))
                }
                return
            }
            guard state.appliedIndex <= link.index, state.appliedIndex >= start.index - 1 else {
                throw refuse(
                    damage(
                        "state", "applied from \(start.index - 1) to \(link.index)",
                        "\(state.appliedIndex)"))
            }
        }
    }

    private func verifyChain(
        from link: inout Schema.Link, _ txn: borrowing ReadTransaction, _ refuse: inout Refusals
    ) throws(LMDBError) {
        try txn.withCursor(in: tables.log) { cursor throws(LMDBError) in
            var position = try cursor.first()
            while let record = position {
                let index = try record.key
                guard index == link.index + 1 else {
                    throw refuse(damage("log", "entry \(link.index + 1)", "entry \(index)"))
                }
                let value = record.value
                let (entry, crc, previous) = try refuse.passing { () throws(RaftLogError) in
                    try Schema.decode(value, index: index, path: path)
                }
                guard previous == link.crc else {
                    throw refuse(
                        damage(
                            "log entry \(index)",
                            "to follow an entry with checksum \(String(previous, radix: 16))",
                            String(link.crc, radix: 16)))
                }
                guard entry.term >= link.term else {
                    throw refuse(
                        damage("log entry \(index)", "term \(link.term) or above", "\(entry.term)"))
                }
                link = Schema.Link(index: index, term: entry.term, crc: crc)
                position = try cursor.next()
            }
        }
    }

    private func damage(_ record: String, _ expected: String, _ found: String) -> RaftLogError {
        .damaged(path: path, record: record, expected: expected, found: found)
    }
}
