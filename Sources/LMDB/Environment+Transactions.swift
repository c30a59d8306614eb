import CLMDB
import Glibc
import Synchronization

extension Environment {
    /// Runs `body` on a snapshot: what was committed when it started, unchanged while it runs.
    ///
    /// Any thread, any number at a time up to `maxReaders`; may be nested. Keep it short: pages
    /// freed meanwhile cannot be reused, so the file grows.
    public func read<R>(
        _ body: (borrowing ReadTransaction) throws(LMDBError) -> R
    ) throws(LMDBError) -> R {
        let reader = try beginReading()
        defer { endReading(reader) }
        return try body(unsafe ReadTransaction(raw: reader.raw, environment: self))
    }

    /// The 16-byte value of a key as two big-endian words, `nil` if there is none.
    ///
    /// The cheapest look-up: no allocation, no closure. Throws `.badValsize` if the value has
    /// another size.
    public func value16(
        for key: UInt64, in table: Table
    ) throws(LMDBError) -> (UInt64, UInt64)? {
        let reader = try beginReading()
        defer { endReading(reader) }
        return try unsafe ReadTransaction.value16(reader.raw, key, table, self)
    }

    /// Runs `body` in a write transaction, commits it durably when `body` returns and gives it up
    /// when it throws.
    ///
    /// Write transactions run one after the other. When the map is full, the transaction is given
    /// up, the map grows and **`body` runs again from the start**: it must not change anything but
    /// the transaction before it returns. A write inside a write of the same environment on one
    /// thread would wait for itself: it traps.
    public func write<R>(
        _ body: (borrowing WriteTransaction) throws(LMDBError) -> R
    ) throws(LMDBError) -> R {
        precondition(
            !isWriting, "a write transaction inside a write transaction of the same environment")
        while true {
            // Ends: every round doubles the map, up to its limit, or throws.
            var mapSize = 0
            do throws(LMDBError) {
                return try writeOnce(body, mapSize: &mapSize)
            } catch {
                guard case .mapFull(let origin) = error, origin.path == path else { throw error }
                try grow(beyond: mapSize)
            }
        }
    }

    private func writeOnce<R>(
        _ body: (borrowing WriteTransaction) throws(LMDBError) -> R, mapSize: inout Int
    ) throws(LMDBError) -> R {
        try enterGate()
        defer { gate.leave() }
        mapSize = mapBytes.load(ordering: .acquiring)
        var begun: OpaquePointer?
        let code = unsafe mdb_txn_begin(handle.raw, nil, 0, &begun)
        guard code == 0, let txn = unsafe begun else {
            throw LMDBError(code: code, call: "mdb_txn_begin", path: path)
        }
        // With LMDB's lock held: the failed commit of the writer before is seen.
        if let fault = writeFault.withLock({ $0 }) {
            unsafe mdb_txn_abort(txn)
            throw .poisoned(path: path, reason: fault)
        }
        writer.store(UInt(pthread_self()), ordering: .relaxed)
        let result: R
        do throws(LMDBError) {
            result = try body(unsafe WriteTransaction(raw: txn, environment: self))
        } catch {
            writer.store(0, ordering: .relaxed)
            unsafe mdb_txn_abort(txn)
            throw error
        }
        try unsafe commit(txn)
        return result
    }

    private func commit(_ txn: OpaquePointer) throws(LMDBError) {
        writer.store(0, ordering: .relaxed)
        let code = unsafe mdb_txn_commit(txn)
        guard code != 0 else { return }
        let error = failure(code, "mdb_txn_commit")
        switch error {
        case .io, .panic, .corrupted, .pageNotFound:
            writeFault.withLock { $0 = $0 ?? error.description }
        default: break
        }
        throw error
    }

    /// Enters the gate; whoever did must leave it.
    func enterGate() throws(LMDBError) {
        do throws(Gate.Refusal) { try gate.enter() } catch { throw refusal(error) }
    }

    private func refusal(_ refusal: Gate.Refusal) -> LMDBError {
        switch refusal {
        case .closed: .closed(path: path)
        case .dead: .poisoned(path: path, reason: "the map could not be moved when it grew")
        }
    }

    func beginReading() throws(LMDBError) -> ReaderHandle {
        try enterGate()
        if let reader = idleReaders.withLock({ $0.popLast() }) {
            let code = unsafe mdb_txn_renew(reader.raw)
            if code == 0 { return reader }
            unsafe mdb_txn_abort(reader.raw)
        }
        var begun: OpaquePointer?
        var code = unsafe mdb_txn_begin(handle.raw, nil, UInt32(MDB_RDONLY), &begun)
        if code == MDB_MAP_RESIZED {
            gate.leave()
            try adoptMapSize()
            try enterGate()
            code = unsafe mdb_txn_begin(handle.raw, nil, UInt32(MDB_RDONLY), &begun)
        }
        guard code == 0, let raw = unsafe begun else {
            gate.leave()
            throw LMDBError(code: code, call: "mdb_txn_begin", path: path)
        }
        return unsafe ReaderHandle(raw: raw)
    }

    func endReading(_ reader: ReaderHandle) {
        unsafe mdb_txn_reset(reader.raw)
        idleReaders.withLock { $0.append(reader) }
        gate.leave()
    }

    /// Doubles the map unless another thread has done so since it had this size.
    func grow(beyond seen: Int) throws(LMDBError) {
        let full = LMDBError.mapFull(.init(call: "mdb_env_set_mapsize", path: path))
        guard seen < options.maxMapSize else { throw full }
        try withMapAlone(orThrow: full) { () throws(LMDBError) in
            guard mapBytes.load(ordering: .acquiring) == seen else { return }
            try setMapSize(min(seen * 2, options.maxMapSize))
        }
    }

    /// Takes over the size another process gave the map.
    private func adoptMapSize() throws(LMDBError) {
        let busy = LMDBError.busy(.init(call: "mdb_env_set_mapsize", path: path))
        try withMapAlone(orThrow: busy) { () throws(LMDBError) in try setMapSize(0) }
    }

    private func withMapAlone(
        orThrow late: LMDBError, _ body: () throws(LMDBError) -> Void
    ) throws(LMDBError) {
        guard gate.lock(milliseconds: Self.patienceMilliseconds) else { throw late }
        defer { gate.unlock() }
        if gate.isClosed { throw .closed(path: path) }
        if gate.isDead { throw refusal(.dead) }
        try body()
    }

    /// Only while nobody else is inside.
    ///
    /// After a failure LMDB has no map: the next call would crash.
    func setMapSize(_ bytes: Int) throws(LMDBError) {
        var code = unsafe mdb_env_set_mapsize(handle.raw, bytes)
        var info = unsafe MDB_envinfo()
        if code == 0 { code = unsafe mdb_env_info(handle.raw, &info) }
        guard code == 0 else {
            gate.kill()
            let cause = LMDBError(code: code, call: "mdb_env_set_mapsize", path: path)
            throw .poisoned(path: path, reason: cause.description)
        }
        mapBytes.store(unsafe info.me_mapsize, ordering: .releasing)
    }
}
