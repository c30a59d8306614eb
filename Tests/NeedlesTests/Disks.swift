import Glibc
import Platform
import Synchronization

/// What a call on a disk is about to do.
enum DiskCall: Sendable, Equatable {
    case open, create, read, write, sync, truncate, reserve, copy, rename, remove, syncDirectory
}

/// The real file system, but calls can be made to fail.
final class FaultyDisk: Disk {
    /// Decides, for every call, whether it fails: call, file name, how many such calls came before.
    typealias Rule = @Sendable (DiskCall, String) -> CInt?

    private let inner = PosixDisk()
    private let rule = Mutex<Rule?>(nil)
    /// Bytes of a failing write that reach the file all the same.
    let partialBytes = Mutex(0)
    private let counts = Mutex<[String: Int]>([:])

    /// Makes calls fail from here on.
    func fail(_ rule: @escaping Rule) { self.rule.withLock { $0 = rule } }

    /// Lets all calls through again.
    func heal() { rule.withLock { $0 = nil } }

    /// Makes the `number`-th (from 1) call of a kind on files with a suffix fail, and those after
    /// it too if `forever`.
    func fail(
        _ call: DiskCall, _ suffix: String, number: Int = 1, code: CInt, forever: Bool = false
    ) {
        let seen = Counter()
        fail { made, path in
            guard made == call, path.hasSuffix(suffix) else { return nil }
            let count = seen.next()
            return count == number || forever && count > number ? code : nil
        }
    }

    func check(_ call: DiskCall, _ path: String) throws(DiskError) {
        let name = String(path.split(separator: "/").last ?? "")
        counts.withLock { $0["\(call) \(name)", default: 0] += 1 }
        if let code = rule.withLock({ $0 })?(call, path) {
            throw DiskError(call: "\(call)", path: path, code: code)
        }
    }

    /// Calls of a kind on a file so far.
    func count(_ call: DiskCall, _ name: String) -> Int {
        counts.withLock { $0["\(call) \(name)"] ?? 0 }
    }

    func open(_ path: String, _ mode: OpenMode) throws(DiskError) -> any DiskFile {
        let creates = mode == .create || mode == .createOrTruncate
        try check(creates ? .create : .open, path)
        return FaultyFile(inner: try inner.open(path, mode), disk: self)
    }

    func openNameless(in directory: String) throws(DiskError) -> any DiskFile {
        try check(.create, directory)
        return FaultyFile(inner: try inner.openNameless(in: directory), disk: self)
    }

    func rename(_ path: String, to newPath: String) throws(DiskError) {
        try check(.rename, path)
        try inner.rename(path, to: newPath)
    }

    func remove(_ path: String) throws(DiskError) {
        try check(.remove, path)
        try inner.remove(path)
    }

    func syncDirectory(_ path: String) throws(DiskError) {
        try check(.syncDirectory, path)
        try inner.syncDirectory(path)
    }

    func list(_ path: String) throws(DiskError) -> [String] { try inner.list(path) }
    func exists(_ path: String) -> Bool { inner.exists(path) }
    func space(at path: String) throws(DiskError) -> (total: UInt64, available: UInt64) {
        try inner.space(at: path)
    }
}

final class FaultyFile: DiskFile {
    let inner: any DiskFile
    let disk: FaultyDisk
    var path: String { inner.path }

    init(inner: any DiskFile, disk: FaultyDisk) {
        self.inner = inner
        self.disk = disk
    }

    func length() throws(DiskError) -> UInt64 { try inner.length() }

    func read(
        into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64
    ) throws(DiskError) -> Int {
        try disk.check(.read, path)
        return try unsafe inner.read(into: buffer, at: offset)
    }

    func readCached(
        into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64
    ) throws(DiskError) -> Int? {
        try unsafe inner.readCached(into: buffer, at: offset)
    }

    func write(_ bytes: RawSpan, at offset: UInt64) throws(DiskError) {
        do throws(DiskError) {
            try disk.check(.write, path)
        } catch {
            let part = min(disk.partialBytes.withLock { $0 }, bytes.byteCount)
            try inner.write(bytes.extracting(0..<part), at: offset)
            throw error
        }
        try inner.write(bytes, at: offset)
    }

    func sync() throws(DiskError) {
        try disk.check(.sync, path)
        try inner.sync()
    }

    func truncate(to length: UInt64) throws(DiskError) {
        try disk.check(.truncate, path)
        try inner.truncate(to: length)
    }

    func reserve(at offset: UInt64, length: UInt64) throws(DiskError) {
        try disk.check(.reserve, path)
        try inner.reserve(at: offset, length: length)
    }

    func startWriteback(at offset: UInt64, length: UInt64) {
        inner.startWriteback(at: offset, length: length)
    }

    func copy(
        from source: any DiskFile, at sourceOffset: UInt64, to offset: UInt64, length: UInt64
    ) throws(DiskError) {
        try disk.check(.copy, path)
        let source = (source as? FaultyFile)?.inner ?? source
        try inner.copy(from: source, at: sourceOffset, to: offset, length: length)
    }

    func duplicateDescriptor() throws(DiskError) -> CInt { try inner.duplicateDescriptor() }
}

/// Counts from 1.
final class Counter: Sendable {
    private let value = Mutex(0)

    func next() -> Int {
        value.withLock { value in
            value += 1
            return value
        }
    }

    var count: Int { value.withLock { $0 } }
}
