import CLMDB
import Glibc

/// A position in a table, moving in key order; valid inside the closure that received it.
@safe public struct Cursor: ~Copyable {
    private let raw: OpaquePointer
    /// Unretained: the call that lends the cursor holds it.
    private let owner: Unmanaged<Environment>
    private var environment: Environment { unsafe owner.takeUnretainedValue() }

    init(raw: OpaquePointer, environment: Environment) {
        unsafe self.raw = raw
        unsafe owner = .passUnretained(environment)
    }

    deinit { unsafe mdb_cursor_close(raw) }

    /// The record with the smallest key, `nil` in an empty table.
    public borrowing func first() throws(LMDBError) -> Record? { try move(MDB_FIRST) }

    /// The record with the greatest key, `nil` in an empty table.
    public borrowing func last() throws(LMDBError) -> Record? { try move(MDB_LAST) }

    /// The record after the present one, `nil` at the end.
    public borrowing func next() throws(LMDBError) -> Record? { try move(MDB_NEXT) }

    /// The record before the present one, `nil` at the start.
    public borrowing func previous() throws(LMDBError) -> Record? { try move(MDB_PREV) }

    /// The first record whose 8-byte big-endian key is not below `key`.
    public borrowing func seek(atOrAfter key: UInt64) throws(LMDBError) -> Record? {
        var bytes = key.bigEndian
        let (code, name, value) = unsafe withUnsafeMutableBytes(of: &bytes) { bytes in
            unsafe position(UnsafeRawBufferPointer(bytes))
        }
        return try unsafe record(code, name, value)
    }

    /// The first record whose key is not below `key`.
    public borrowing func seek(atOrAfter key: RawSpan) throws(LMDBError) -> Record? {
        let (code, name, value) = unsafe key.withUnsafeBytes { bytes in
            unsafe position(bytes)
        }
        return try unsafe record(code, name, value)
    }

    private func position(_ bytes: UnsafeRawBufferPointer) -> (CInt, MDB_val, MDB_val) {
        var name = unsafe MDB_val(bytes)
        var value = unsafe MDB_val()
        let code = unsafe mdb_cursor_get(raw, &name, &value, MDB_SET_RANGE)
        return unsafe (code, name, value)
    }

    private func move(_ operation: MDB_cursor_op) throws(LMDBError) -> Record? {
        var name = unsafe MDB_val()
        var value = unsafe MDB_val()
        let code = unsafe mdb_cursor_get(raw, &name, &value, operation)
        return try unsafe record(code, name, value)
    }

    private func record(
        _ code: CInt, _ name: MDB_val, _ value: MDB_val
    ) throws(LMDBError) -> Record? {
        if code == MDB_NOTFOUND { return nil }
        try environment.check(code, "mdb_cursor_get")
        return unsafe Record(name: name, content: value, environment: environment)
    }
}

/// A record a cursor stands on.
///
/// Use it before the cursor moves or the transaction writes.
@safe public struct Record: ~Copyable {
    private let name, content: MDB_val
    /// Unretained: the call that lends the cursor holds it.
    private let owner: Unmanaged<Environment>
    private var environment: Environment { unsafe owner.takeUnretainedValue() }

    init(name: MDB_val, content: MDB_val, environment: Environment) {
        unsafe self.name = name
        unsafe self.content = content
        unsafe owner = .passUnretained(environment)
    }

    /// The 8-byte big-endian key; throws `.badValsize` if it has another size.
    public var key: UInt64 {
        get throws(LMDBError) {
            guard unsafe name.mv_size == 8, let data = unsafe name.mv_data else {
                throw .badValsize(.init(call: "key", path: environment.path))
            }
            return UInt64(bigEndian: unsafe data.loadUnaligned(as: UInt64.self))
        }
    }

    /// A copy of the value.
    public var value: [UInt8] { unsafe [UInt8](UnsafeRawBufferPointer(content)) }

    /// Lends key and value.
    public borrowing func withBytes<R>(
        _ body: (RawSpan, RawSpan) throws(LMDBError) -> R
    ) throws(LMDBError) -> R {
        try body(
            unsafe UnsafeRawBufferPointer(name).bytes, unsafe UnsafeRawBufferPointer(content).bytes)
    }

    borrowing func lend<R>(
        _ body: (UInt64, RawSpan) throws(LMDBError) -> R
    ) throws(LMDBError) -> R {
        try body(try key, unsafe UnsafeRawBufferPointer(content).bytes)
    }
}
