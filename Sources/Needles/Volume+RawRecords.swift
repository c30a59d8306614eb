public import Model
internal import NIOCore
internal import Synchronization

extension Volume {
    /// Bytes of the largest record that is handed out whole.
    public static let rawRecordBytes = 512 << 20

    /// The cookie of the newest record of a key and its size field S; `nil` when the key is unknown
    /// or deleted.
    ///
    /// Blocks on the disk.
    public func cookie(
        of key: NeedleKey
    ) throws(NeedleError) -> (cookie: UInt32, size: UInt32)? {
        guard let (generation, entry) = try locateRepairing(key), !entry.isDeleted else {
            return nil
        }
        guard let header = try generation.data.header(at: entry.offset), header.id == key else {
            throw .damaged(
                id, offset: entry.offset, expected: "needle \(hex(key))", found: "another header")
        }
        return (header.cookie, header.size)
    }

    /// The bytes of the record at an offset, as they lie in the data file, padding included.
    ///
    /// Blocks on the disk. Throws ``NeedleError/damaged(_:offset:expected:found:)`` when no record
    /// with the size field `size` begins there.
    public func rawRecord(at offset: UInt64, size: UInt32) throws(NeedleError) -> [UInt8] {
        let (data, end, isClosed) = state.withLock {
            ($0.generation.data, $0.end, $0.isClosed)
        }
        if isClosed { throw .closed(id) }
        let length = data.length(size: size)
        guard length <= UInt64(Volume.rawRecordBytes) else {
            throw .invalid(
                "volume \(id): a record of \(length) bytes is too large to be sent whole")
        }
        guard offset < end, length <= end - offset, let header = try data.header(at: offset),
            header.isPlausible, header.size == size
        else {
            throw .damaged(
                id, offset: offset, expected: "a record of size \(size)", found: "another one")
        }
        let bytes = try readBuffer(data.file, at: offset, count: Int(length))
        guard bytes.readableBytes == Int(length) else {
            throw .damaged(
                id, offset: offset, expected: "\(length) bytes", found: "\(bytes.readableBytes)")
        }
        return Array(bytes.readableBytesView)
    }
}
