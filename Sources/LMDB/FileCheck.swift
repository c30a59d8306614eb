import Glibc

/// Looks at a data file before LMDB maps it: LMDB itself opens a truncated file and the process
/// dies of SIGBUS at the first missing page.
///
/// Layout of 0.9.24 on 64-bit machines, native-endian: a page starts with its number (8 bytes), pad
/// (2), flags (2), then lower and upper bound (2 + 2) or the count of overflow pages (4). Pages 0
/// and 1 are meta pages; after that header they hold magic (4), version (4), address (8), map size
/// (8), the free and the main tree (48 each), last page (8), transaction (8).
struct FileCheck: ~Copyable {
    private static let headerBytes = 16
    private static let metaBytes = 136
    private static let magic: UInt32 = 0xBEEF_C0DE
    private static let dataVersion: UInt32 = 1
    private static let noPage = UInt64.max
    /// LMDB's limit on the depth of a tree (`CURSOR_STACK`).
    private static let maxDepth = 32

    private struct Meta {
        var pageSize: UInt64
        var freeRoot, mainRoot: UInt64
        var lastPage: UInt64
        var transaction: UInt64
    }

    private let path: String
    private let descriptor: CInt
    private var fileSize: UInt64 = 0
    private var pageSize: UInt64 = 4096
    private var pagesLeft: UInt64 = 0

    /// Whether the file holds a database; false when it is missing or empty.
    static func verify(_ path: String) throws(LMDBError) -> Bool {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        if descriptor < 0, errno == ENOENT { return false }
        guard descriptor >= 0 else { throw LMDBError(code: errno, call: "open", path: path) }
        var check = FileCheck(path: path, descriptor: descriptor)
        return try check.run()
    }

    private init(path: String, descriptor: CInt) {
        self.path = path
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    private mutating func run() throws(LMDBError) -> Bool {
        guard try length() > 0 else { return false }
        let first = try meta(at: 0)
        pageSize = first.pageSize
        let second = try meta(at: pageSize)
        let newest = second.transaction > first.transaction ? second : first
        // After the metas: a process that is writing lengthens the file before it publishes a meta.
        fileSize = try length()
        let (needed, overflow) = (newest.lastPage &+ 1).multipliedReportingOverflow(by: pageSize)
        guard !overflow, newest.lastPage >= 1 else {
            throw invalid("last page \(newest.lastPage) is impossible")
        }
        if fileSize >= needed { return true }
        // Pages that a transaction took and gave back before its commit are never written, so a
        // file may end early and be whole: it is if everything the trees name lies inside it.
        pagesLeft = newest.lastPage + 1
        var isWhole = try holdsTree(newest.freeRoot, depth: 0)
        if isWhole { isWhole = try holdsTree(newest.mainRoot, depth: 0) }
        guard isWhole else {
            throw .truncated(path: path, expected: needed, found: fileSize)
        }
        return true
    }

    private func length() throws(LMDBError) -> UInt64 {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else {
            throw LMDBError(code: errno, call: "fstat", path: path)
        }
        guard status.st_mode & S_IFMT == S_IFREG else { throw invalid("not a regular file") }
        return UInt64(status.st_size)
    }

    private func meta(at offset: UInt64) throws(LMDBError) -> Meta {
        let wanted = Self.headerBytes + Self.metaBytes
        let bytes = try read(at: offset, count: wanted)
        if bytes.count < wanted {
            let found = try length()
            throw .truncated(path: path, expected: 2 * pageSize, found: found)
        }
        let start = Self.headerBytes
        guard bytes.load16(10) & 0x08 != 0 else { throw invalid("no meta page at \(offset)") }
        guard bytes.load32(start) == Self.magic else {
            throw invalid("magic \(bytes.load32(start)) at \(offset), expected \(Self.magic)")
        }
        guard bytes.load32(start + 4) == Self.dataVersion else {
            throw .versionMismatch(.init(call: "meta page", path: path))
        }
        let size = UInt64(bytes.load32(start + 24))
        guard size >= 512, size <= 65536, size.nonzeroBitCount == 1 else {
            throw invalid("page size \(size) is impossible")
        }
        return Meta(
            pageSize: size, freeRoot: bytes.load64(start + 24 + 40),
            mainRoot: bytes.load64(start + 72 + 40), lastPage: bytes.load64(start + 120),
            transaction: bytes.load64(start + 128))
    }

    /// Whether every page of the tree lies inside the file.
    private mutating func holdsTree(_ root: UInt64, depth: Int) throws(LMDBError) -> Bool {
        if root == Self.noPage { return true }
        guard depth < Self.maxDepth, holds(root, pages: 1), pagesLeft > 0 else { return false }
        pagesLeft -= 1
        let page = try read(at: root * pageSize, count: Int(pageSize))
        guard page.count == Int(pageSize) else { return false }
        let flags = page.load16(10)
        guard flags & 0x03 != 0 else { return false }
        let lower = Int(page.load16(12))
        guard lower >= Self.headerBytes, lower <= page.count else { return false }
        for index in 0..<(lower - Self.headerBytes) / 2 {
            let node = Int(page.load16(Self.headerBytes + 2 * index))
            guard node + 8 <= page.count else { return false }
            let isHeld =
                try flags & 0x01 != 0
                ? holdsTree(page.load64(node) & 0xFFFF_FFFF_FFFF, depth: depth + 1)
                : holdsLeaf(page, node, depth: depth)
            guard isHeld else { return false }
        }
        return true
    }

    /// Whether what a leaf node refers to, overflow pages or a table's tree, lies inside the file.
    private mutating func holdsLeaf(
        _ page: [UInt8], _ node: Int, depth: Int
    ) throws(LMDBError) -> Bool {
        let flags = page.load16(node + 4)
        let data = node + 8 + Int(page.load16(node + 6))
        if flags & 0x01 != 0 {
            guard data + 8 <= page.count else { return false }
            let bytes = UInt64(page.load32(node))
            let pages = (UInt64(Self.headerBytes) - 1 + bytes) / pageSize + 1
            return holds(page.load64(data), pages: pages)
        }
        if flags & 0x02 != 0 {
            guard data + 48 <= page.count else { return false }
            return try holdsTree(page.load64(data + 40), depth: depth + 1)
        }
        return true
    }

    private func holds(_ page: UInt64, pages: UInt64) -> Bool {
        let limit = fileSize / pageSize
        return page < limit && pages <= limit - page
    }

    private func read(at offset: UInt64, count: Int) throws(LMDBError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let got = unsafe bytes.withUnsafeMutableBytes { buffer in
                unsafe pread(
                    descriptor, buffer.baseAddress?.advanced(by: done), count - done,
                    off_t(offset) + off_t(done))
            }
            if got < 0, errno == EINTR { continue }
            guard got >= 0 else { throw LMDBError(code: errno, call: "pread", path: path) }
            if got == 0 { break }
            done += got
        }
        bytes.removeLast(count - done)
        return bytes
    }

    private func invalid(_ reason: String) -> LMDBError {
        .invalid(.init(call: "meta page", path: path), reason: reason)
    }
}

extension [UInt8] {
    fileprivate func load16(_ at: Int) -> UInt16 { load(at) }
    fileprivate func load32(_ at: Int) -> UInt32 { load(at) }
    fileprivate func load64(_ at: Int) -> UInt64 { load(at) }

    private func load<T: FixedWidthInteger>(_ at: Int) -> T {
        unsafe withUnsafeBytes { unsafe $0.loadUnaligned(fromByteOffset: at, as: T.self) }
    }
}
