import Model
import NIOCore
import Platform

/// A file whose copies on other servers may differ from the one here.
struct Debt: Hashable, Sendable {
    var volume: VolumeID
    var key: NeedleKey
    var cookie: UInt32

    init(_ id: FileID) {
        volume = id.volume
        key = id.key
        cookie = id.cookie
    }

    var fileID: FileID { FileID(volume: volume, key: key, cookie: cookie) }
}

/// The debts of a server on disk: records of 32 bytes, each with a checksum, only ever appended
/// until the file is written anew with what is left.
///
/// A value: who writes takes it, and gives it back.
struct DebtFile: Sendable {
    /// One change of the debts.
    struct Change: Sendable {
        var debt: Debt
        /// Unix seconds since when it is owed; 0: paid.
        var since: UInt64
    }

    static let name = "copies.owed"
    static let recordBytes = 32
    /// Bytes of the file read at start.
    static let fileLimit = 256 << 20

    private let disk: any Disk
    private let directory: String
    private let path: String
    private var file: any DiskFile
    private var end: UInt64
    /// Records in the file.
    private(set) var records: Int
    /// It lacks changes that could not be written.
    var isBehind = false

    /// Opens the file in a directory, or makes it; `debts` gets what is owed.
    ///
    /// A torn last record is overwritten by the next; records that do not verify are passed over
    /// and counted in `damaged`. Blocks.
    init(
        in directory: String, disk: any Disk, debts: inout [Debt: UInt64], damaged: inout Int
    ) throws(DiskError) {
        self.disk = disk
        self.directory = directory
        path = directory + "/" + DebtFile.name
        guard disk.exists(path) else {
            file = try disk.open(path, .createOrTruncate)
            try file.sync()
            try disk.syncDirectory(directory)
            (end, records) = (0, 0)
            return
        }
        var bytes = ByteBuffer(bytes: try disk.readFile(path, limit: DebtFile.fileLimit))
        var count = 0
        while let record = bytes.readSlice(length: DebtFile.recordBytes) {
            count += 1
            guard let change = DebtFile.decode(record) else {
                damaged += 1
                continue
            }
            debts[change.debt] = change.since == 0 ? nil : change.since
        }
        records = count
        end = UInt64(count * DebtFile.recordBytes)
        file = try disk.open(path, .readWrite)
    }

    /// Appends changes; durable when it returns.
    ///
    /// Blocks.
    mutating func append(_ changes: [Change]) throws(DiskError) {
        var buffer = ByteBuffer()
        for change in changes { DebtFile.encode(change, into: &buffer) }
        try file.write(buffer.readableBytesSpan, at: end)
        // That something is paid may be forgotten: it is found out again.
        if changes.contains(where: { $0.since != 0 }) { try file.sync() }
        end += UInt64(buffer.readableBytes)
        records += changes.count
    }

    /// Replaces the file by one that has only these.
    ///
    /// Blocks.
    mutating func rewrite(_ debts: [Debt: UInt64]) throws(DiskError) {
        var buffer = ByteBuffer()
        for (debt, since) in debts {
            DebtFile.encode(Change(debt: debt, since: since), into: &buffer)
        }
        try disk.replaceFile(path, in: directory, with: Array(buffer.readableBytesView))
        file = try disk.open(path, .readWrite)
        end = UInt64(buffer.readableBytes)
        records = debts.count
        isBehind = false
    }

    private static func encode(_ change: Change, into buffer: inout ByteBuffer) {
        var record = ByteBuffer()
        record.writeMultipleIntegers(
            UInt32(change.since == 0 ? 2 : 1), change.debt.volume, change.debt.key,
            change.debt.cookie, change.since)
        record.writeInteger(CRC32C.checksum(record.readableBytesSpan))
        buffer.writeBuffer(&record)
    }

    private static func decode(_ record: ByteBuffer) -> Change? {
        var record = record
        let checksum = CRC32C.checksum(record.readableBytesSpan.extracting(0..<recordBytes - 4))
        guard
            let (kind, volume, key, cookie, since, stored) = record.readMultipleIntegers(
                as: (UInt32, UInt32, UInt64, UInt32, UInt64, UInt32).self),
            stored == checksum, kind == (since == 0 ? 2 : 1)
        else { return nil }
        let id = FileID(volume: volume, key: key, cookie: cookie)
        return Change(debt: Debt(id), since: since)
    }
}
