import CLMDB
import Glibc

/// Changes to an environment, all kept or none; valid inside the closure that received it and on
/// that thread only.
///
/// A failed call spoils the transaction: let its error leave the closure. Bytes read inside die at
/// the next change.
@safe public struct WriteTransaction: ~Copyable {
    /// Reads see the transaction's own changes.
    public let reading: ReadTransaction
    private var raw: OpaquePointer { unsafe reading.raw }
    private var environment: Environment { reading.environment }

    init(raw: OpaquePointer, environment: Environment) {
        reading = unsafe ReadTransaction(raw: raw, environment: environment)
    }

    /// Stores a value, replacing an older one.
    ///
    /// `append` skips the search and needs `key` to be above every key of the table, else
    /// `.keyExist`. Keys have 1 to 511 bytes. Throws `.mapFull` (let it out: the map grows and the
    /// closure runs again), `.diskFull`, `.badValsize`.
    public borrowing func put(
        _ value: RawSpan, for key: RawSpan, in table: Table, append: Bool = false
    ) throws(LMDBError) {
        try environment.checkOwner(of: table)
        let flags = append ? UInt32(MDB_APPEND) : 0
        let code = unsafe key.withUnsafeBytes { key in
            unsafe value.withUnsafeBytes { value in
                unsafe put(key, value, table, flags)
            }
        }
        try environment.check(code, "mdb_put")
    }

    /// Stores a value under an 8-byte big-endian key, replacing an older one.
    public borrowing func put(
        _ value: RawSpan, for key: UInt64, in table: Table, append: Bool = false
    ) throws(LMDBError) {
        try environment.checkOwner(of: table)
        let flags = append ? UInt32(MDB_APPEND) : 0
        var bytes = key.bigEndian
        let code = unsafe withUnsafeBytes(of: &bytes) { key in
            unsafe value.withUnsafeBytes { value in
                unsafe put(key, value, table, flags)
            }
        }
        try environment.check(code, "mdb_put")
    }

    /// Stores two words, big-endian, as a 16-byte value; see `value16`.
    public borrowing func put16(
        _ high: UInt64, _ low: UInt64, for key: UInt64, in table: Table, append: Bool = false
    ) throws(LMDBError) {
        try environment.checkOwner(of: table)
        let flags = append ? UInt32(MDB_APPEND) : 0
        var bytes = key.bigEndian
        var words = (high.bigEndian, low.bigEndian)
        let code = unsafe withUnsafeBytes(of: &bytes) { key in
            unsafe withUnsafeBytes(of: &words) { value in
                unsafe put(key, value, table, flags)
            }
        }
        try environment.check(code, "mdb_put")
    }

    /// Removes a key; false if it was not there.
    @discardableResult
    public borrowing func delete(_ key: RawSpan, in table: Table) throws(LMDBError) -> Bool {
        try environment.checkOwner(of: table)
        let code = unsafe key.withUnsafeBytes { key in unsafe delete(key, table) }
        if code == MDB_NOTFOUND { return false }
        try environment.check(code, "mdb_del")
        return true
    }

    /// Removes an 8-byte big-endian key; false if it was not there.
    @discardableResult
    public borrowing func delete(_ key: UInt64, in table: Table) throws(LMDBError) -> Bool {
        try environment.checkOwner(of: table)
        var bytes = key.bigEndian
        let code = unsafe withUnsafeBytes(of: &bytes) { key in unsafe delete(key, table) }
        if code == MDB_NOTFOUND { return false }
        try environment.check(code, "mdb_del")
        return true
    }

    /// Removes every record of a table; its handle stays valid.
    public borrowing func removeAll(in table: Table) throws(LMDBError) {
        try environment.checkOwner(of: table)
        try environment.check(unsafe mdb_drop(raw, table.dbi, 0), "mdb_drop")
    }

    private func put(
        _ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, _ table: Table,
        _ flags: UInt32
    ) -> CInt {
        var name = unsafe MDB_val(key)
        var content = unsafe MDB_val(value)
        return unsafe mdb_put(raw, table.dbi, &name, &content, flags)
    }

    private func delete(_ key: UnsafeRawBufferPointer, _ table: Table) -> CInt {
        var name = unsafe MDB_val(key)
        return unsafe mdb_del(raw, table.dbi, &name, nil)
    }
}

extension WriteTransaction {
    /// Lends the value of a key, `nil` if there is none.
    public borrowing func withValue<R>(
        for key: RawSpan, in table: Table, _ body: (RawSpan?) throws(LMDBError) -> R
    ) throws(LMDBError) -> R {
        try reading.withValue(for: key, in: table, body)
    }

    /// Lends the value of an 8-byte big-endian key, `nil` if there is none.
    public borrowing func withValue<R>(
        for key: UInt64, in table: Table, _ body: (RawSpan?) throws(LMDBError) -> R
    ) throws(LMDBError) -> R {
        try reading.withValue(for: key, in: table, body)
    }

    /// The 16-byte value of a key as two big-endian words, `nil` if there is none.
    public borrowing func value16(
        for key: UInt64, in table: Table
    ) throws(LMDBError) -> (UInt64, UInt64)? {
        try reading.value16(for: key, in: table)
    }
}
