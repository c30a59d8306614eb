/// An open data file, addressed by position.
///
/// Calls block; safe to use from several threads, except that one writer at a time is the caller's
/// rule.
public protocol DiskFile: AnyObject, Sendable {
    /// Where the file was opened.
    var path: String { get }
    /// Its length in bytes.
    func length() throws(DiskError) -> UInt64
    /// Reads until the buffer is full or the file ends; returns the bytes read.
    func read(
        into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64
    ) throws(DiskError) -> Int
    /// Like ``read(into:at:)``, but only what memory holds: `nil` when it would wait for the disk.
    func readCached(
        into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64
    ) throws(DiskError) -> Int?
    /// Writes all bytes. On an error any part of them may have been written.
    func write(_ bytes: RawSpan, at offset: UInt64) throws(DiskError)
    /// Returns once everything written so far is on stable storage, the length included.
    func sync() throws(DiskError)
    /// Cuts the file to a length.
    func truncate(to length: UInt64) throws(DiskError)
    /// Reserves space without changing the length; throws ``DiskError`` with `isNoSpace` when there
    /// is none.
    func reserve(at offset: UInt64, length: UInt64) throws(DiskError)
    /// Asks the system to begin writing a range back; best effort.
    func startWriteback(at offset: UInt64, length: UInt64)
    /// Copies bytes of another file of the same disk to this one.
    func copy(
        from source: any DiskFile, at sourceOffset: UInt64, to offset: UInt64, length: UInt64
    ) throws(DiskError)
    /// A new descriptor for the same file, owned by the caller.
    func duplicateDescriptor() throws(DiskError) -> CInt
}

/// The file system as the engine sees it; the one seam through which data files are reached.
public protocol Disk: Sendable {
    /// Opens a file.
    func open(_ path: String, _ mode: OpenMode) throws(DiskError) -> any DiskFile
    /// A file without a name in a directory, gone when closed.
    func openNameless(in directory: String) throws(DiskError) -> any DiskFile
    /// Renames, replacing what is there.
    func rename(_ path: String, to newPath: String) throws(DiskError)
    /// Removes a file; one that is not there is no error.
    func remove(_ path: String) throws(DiskError)
    /// Makes creations, renames and removals in a directory durable.
    func syncDirectory(_ path: String) throws(DiskError)
    /// Names in a directory, sorted.
    func list(_ path: String) throws(DiskError) -> [String]
    /// Whether a path exists.
    func exists(_ path: String) -> Bool
    /// Total and available bytes of the file system that holds a path.
    func space(at path: String) throws(DiskError) -> (total: UInt64, available: UInt64)
}

/// How a file is opened.
public enum OpenMode: Sendable, Equatable {
    /// Must exist; no writes.
    case read
    /// Must exist.
    case readWrite
    /// Must not exist.
    case create
    /// Emptied if it exists.
    case createOrTruncate
}

extension Disk {
    /// Reads a small file whole.
    ///
    /// Larger than `limit` bytes is an error.
    public func readFile(_ path: String, limit: Int = 1 << 20) throws(DiskError) -> [UInt8] {
        let file = try open(path, .read)
        let length = try file.length()
        guard length <= UInt64(limit) else {
            throw DiskError(call: "read", path: path, code: DiskError.fileTooLarge)
        }
        var bytes = [UInt8](repeating: 0, count: Int(length))
        var count = 0
        try unsafe bytes.withUnsafeMutableBufferPointer { (buffer) throws(DiskError) in
            count = try unsafe file.read(into: UnsafeMutableRawBufferPointer(buffer), at: 0)
        }
        bytes.removeLast(bytes.count - count)
        return bytes
    }

    /// Replaces a small file so that after a crash either the old or the new content is there:
    /// written aside, synced, renamed, directory synced.
    public func replaceFile(
        _ path: String, in directory: String, with bytes: [UInt8]
    ) throws(DiskError) {
        let temporary = path + ".tmp"
        let file = try open(temporary, .createOrTruncate)
        try unsafe file.write(bytes.span.bytes, at: 0)
        try file.sync()
        try rename(temporary, to: path)
        try syncDirectory(directory)
    }
}
