import CLMDB
import Glibc
import Synchronization

extension Environment {
    /// Sizes of the environment.
    public func statistics() throws(LMDBError) -> EnvironmentStatistics {
        try enterGate()
        defer { gate.leave() }
        var info = unsafe MDB_envinfo()
        var pages = MDB_stat()
        try check(unsafe mdb_env_info(handle.raw, &info), "mdb_env_info")
        try check(unsafe mdb_env_stat(handle.raw, &pages), "mdb_env_stat")
        let pageSize = Int(pages.ms_psize)
        return unsafe EnvironmentStatistics(
            pageSize: pageSize, mapSize: info.me_mapsize,
            usedBytes: (info.me_last_pgno + 1) * pageSize, lastTransaction: info.me_last_txnid,
            readers: Int(info.me_numreaders), maxReaders: Int(info.me_maxreaders))
    }

    /// Counts of a table.
    public func statistics(of table: Table) throws(LMDBError) -> TableStatistics {
        try read { txn throws(LMDBError) in try txn.statistics(of: table) }
    }

    /// Writes a consistent copy to a new file, by default without its free pages; durable when it
    /// returns.
    ///
    /// Writers go on meanwhile. Throws `.io` with `EEXIST` if the file exists; a copy that failed
    /// is removed.
    public func copy(to destination: String, compacting: Bool = true) throws(LMDBError) {
        try enterGate()
        defer { gate.leave() }
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC
        let descriptor = unsafe open(destination, flags, 0o644)
        guard descriptor >= 0 else { throw LMDBError(code: errno, call: "open", path: destination) }
        defer { Glibc.close(descriptor) }
        do throws(LMDBError) {
            let flags = compacting ? UInt32(MDB_CP_COMPACT) : 0
            try check(unsafe mdb_env_copyfd2(handle.raw, descriptor, flags), "mdb_env_copyfd2")
            guard fsync(descriptor) == 0 else {
                throw LMDBError(code: errno, call: "fsync", path: destination)
            }
            try Registry.syncDirectory(of: destination)
        } catch {
            unsafe unlink(destination)
            throw error
        }
    }

    /// Frees the reader slots of processes that died; returns how many.
    ///
    /// Only where other processes open the file too.
    @discardableResult
    public func clearDeadReaders() throws(LMDBError) -> Int {
        try enterGate()
        defer { gate.leave() }
        var dead: CInt = 0
        try check(unsafe mdb_reader_check(handle.raw, &dead), "mdb_reader_check")
        return Int(dead)
    }
}
