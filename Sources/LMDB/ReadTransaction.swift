import CLMDB
import Glibc

/// A snapshot of an environment, valid inside the closure that received it.
///
/// Bytes lent by its methods lie in the map, are aligned to 2 bytes only, and die with it.
@safe public struct ReadTransaction: ~Copyable {
    let raw: OpaquePointer
    /// Unretained: the call that lends the transaction holds it.
    private let owner: Unmanaged<Environment>
    var environment: Environment { unsafe owner.takeUnretainedValue() }

    init(raw: OpaquePointer, environment: Environment) {
        unsafe self.raw = raw
        unsafe owner = .passUnretained(environment)
    }

    /// Lends the value of a key, `nil` if there is none.
    public borrowing func withValue<R>(
        for key: RawSpan, in table: Table, _ body: (RawSpan?) throws(LMDBError) -> R
    ) throws(LMDBError) -> R {
        var value = unsafe MDB_val()
        let code = try unsafe Self.get(raw, key, table, environment, &value)
        guard code == 0 else { return try body(nil) }
        return try body(unsafe UnsafeRawBufferPointer(value).bytes)
    }

    /// Lends the value of an 8-byte big-endian key, `nil` if there is none.
    public borrowing func withValue<R>(
        for key: UInt64, in table: Table, _ body: (RawSpan?) throws(LMDBError) -> R
    ) throws(LMDBError) -> R {
        var value = unsafe MDB_val()
        let code = try unsafe Self.get(raw, key, table, environment, &value)
        guard code == 0 else { return try body(nil) }
        return try body(unsafe UnsafeRawBufferPointer(value).bytes)
    }

    /// A copy of the value of a key, `nil` if there is none.
    public borrowing func value(for key: RawSpan, in table: Table) throws(LMDBError) -> [UInt8]? {
        try withValue(for: key, in: table) { span in
            guard let span else { return nil }
            return [UInt8](copying: span)
        }
    }

    /// A copy of the value of an 8-byte big-endian key, `nil` if there is none.
    public borrowing func value(for key: UInt64, in table: Table) throws(LMDBError) -> [UInt8]? {
        try withValue(for: key, in: table) { span in
            guard let span else { return nil }
            return [UInt8](copying: span)
        }
    }

    /// The 16-byte value of a key as two big-endian words, `nil` if there is none.
    ///
    /// Throws `.badValsize` if the value has another size.
    public borrowing func value16(
        for key: UInt64, in table: Table
    ) throws(LMDBError) -> (UInt64, UInt64)? {
        try unsafe Self.value16(raw, key, table, environment)
    }

    /// Counts of a table.
    public borrowing func statistics(of table: Table) throws(LMDBError) -> TableStatistics {
        try environment.checkOwner(of: table)
        var found = MDB_stat()
        try environment.check(unsafe mdb_stat(raw, table.dbi, &found), "mdb_stat")
        return TableStatistics(
            entries: found.ms_entries, depth: Int(found.ms_depth),
            branchPages: found.ms_branch_pages, leafPages: found.ms_leaf_pages,
            overflowPages: found.ms_overflow_pages)
    }

    /// Runs `body` with a cursor on a table.
    public borrowing func withCursor<R>(
        in table: Table, _ body: (borrowing Cursor) throws(LMDBError) -> R
    ) throws(LMDBError) -> R {
        try environment.checkOwner(of: table)
        var opened: OpaquePointer?
        let code = unsafe mdb_cursor_open(raw, table.dbi, &opened)
        guard code == 0, let cursor = unsafe opened else {
            throw LMDBError(code: code, call: "mdb_cursor_open", path: environment.path)
        }
        return try body(unsafe Cursor(raw: cursor, environment: environment))
    }

    /// The greatest key of a table of 8-byte keys, `nil` if it is empty.
    public borrowing func lastKey(in table: Table) throws(LMDBError) -> UInt64? {
        try withCursor(in: table) { cursor throws(LMDBError) in try cursor.last()?.key }
    }

    /// The smallest key of a table of 8-byte keys, `nil` if it is empty.
    public borrowing func firstKey(in table: Table) throws(LMDBError) -> UInt64? {
        try withCursor(in: table) { cursor throws(LMDBError) in try cursor.first()?.key }
    }

    /// Visits a table of 8-byte keys in ascending order from `from` on, until `body` says `.stop`.
    public borrowing func forEach(
        in table: Table, from: UInt64 = 0,
        _ body: (UInt64, RawSpan) throws(LMDBError) -> ScanStep
    ) throws(LMDBError) {
        try withCursor(in: table) { cursor throws(LMDBError) in
            var position = try cursor.seek(atOrAfter: from)
            while let current = position {
                guard case .next = try current.lend(body) else { return }
                position = try cursor.next()
            }
        }
    }

    static func value16(
        _ raw: OpaquePointer, _ key: UInt64, _ table: Table, _ environment: Environment
    ) throws(LMDBError) -> (UInt64, UInt64)? {
        var value = unsafe MDB_val()
        guard try unsafe get(raw, key, table, environment, &value) == 0 else { return nil }
        guard unsafe value.mv_size == 16, let data = unsafe value.mv_data else {
            throw .badValsize(.init(call: "value16", path: environment.path))
        }
        let high = unsafe data.loadUnaligned(fromByteOffset: 0, as: UInt64.self)
        let low = unsafe data.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
        return (UInt64(bigEndian: high), UInt64(bigEndian: low))
    }

    private static func get(
        _ raw: OpaquePointer, _ key: UInt64, _ table: Table, _ environment: Environment,
        _ value: inout MDB_val
    ) throws(LMDBError) -> CInt {
        try environment.checkOwner(of: table)
        var bytes = key.bigEndian
        let code = unsafe withUnsafeMutableBytes(of: &bytes) { bytes in
            var name = unsafe MDB_val(mv_size: 8, mv_data: bytes.baseAddress)
            return unsafe mdb_get(raw, table.dbi, &name, &value)
        }
        guard code == 0 || code == MDB_NOTFOUND else {
            throw LMDBError(code: code, call: "mdb_get", path: environment.path)
        }
        return code
    }

    private static func get(
        _ raw: OpaquePointer, _ key: RawSpan, _ table: Table, _ environment: Environment,
        _ value: inout MDB_val
    ) throws(LMDBError) -> CInt {
        try environment.checkOwner(of: table)
        let code = unsafe key.withUnsafeBytes { bytes in
            var name = unsafe MDB_val(bytes)
            return unsafe mdb_get(raw, table.dbi, &name, &value)
        }
        guard code == 0 || code == MDB_NOTFOUND else {
            throw LMDBError(code: code, call: "mdb_get", path: environment.path)
        }
        return code
    }
}

/// Whether a scan goes on.
public enum ScanStep: Sendable { case next, stop }

extension Environment {
    @inline(__always)
    func checkOwner(of table: Table) throws(LMDBError) {
        guard table.owner == main.owner else {
            throw .badDbi(.init(call: "table", path: path))
        }
    }

    @inline(__always)
    func check(_ code: CInt, _ call: String) throws(LMDBError) {
        guard code == 0 else { throw failure(code, call) }
    }

    @inline(never)
    func failure(_ code: CInt, _ call: String) -> LMDBError {
        // LMDB reports a short write, which is how a nearly full disk answers, as EIO.
        let isFull = code == EIO && isDiskFull
        return LMDBError(code: isFull ? ENOSPC : code, call: call, path: path)
    }

    private var isDiskFull: Bool {
        var status = statvfs()
        guard unsafe statvfs(path, &status) == 0 else { return false }
        return status.f_bavail &* status.f_frsize < 64 << 10
    }
}

extension MDB_val {
    /// Lends bytes to LMDB, which does not write through a key or a value it is given.
    init(_ bytes: UnsafeRawBufferPointer) {
        unsafe self.init(
            mv_size: bytes.count, mv_data: UnsafeMutableRawPointer(mutating: bytes.baseAddress))
    }
}

extension UnsafeRawBufferPointer {
    init(_ value: MDB_val) {
        unsafe self.init(start: value.mv_data, count: value.mv_size)
    }
}

extension [UInt8] {
    /// Copies a span.
    init(copying span: RawSpan) {
        self = unsafe span.withUnsafeBytes { unsafe [UInt8]($0) }
    }
}
