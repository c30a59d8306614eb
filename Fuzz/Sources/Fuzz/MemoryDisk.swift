import Glibc
import Platform
import Synchronization

/// Files in memory: what a fuzzer needs of a disk, fast.
final class MemoryDisk: Disk {
    let files = Mutex<[String: MemoryFile]>([:])

    func put(_ path: String, _ bytes: [UInt8]) {
        files.withLock { $0[path] = MemoryFile(path: path, bytes) }
    }

    func open(_ path: String, _ mode: OpenMode) throws(DiskError) -> any DiskFile {
        let known = files.withLock { $0[path] }
        if let known {
            if mode == .create { throw DiskError(call: "open", path: path, code: EEXIST) }
            if mode == .createOrTruncate { known.bytes.withLock { $0 = [] } }
            return known
        }
        guard mode == .create || mode == .createOrTruncate else {
            throw DiskError(call: "open", path: path, code: ENOENT)
        }
        let file = MemoryFile(path: path, [])
        files.withLock { $0[path] = file }
        return file
    }

    func openNameless(in directory: String) throws(DiskError) -> any DiskFile {
        MemoryFile(path: directory, [])
    }

    func rename(_ path: String, to newPath: String) throws(DiskError) {
        files.withLock { files in files[newPath] = files.removeValue(forKey: path) }
    }

    func remove(_ path: String) throws(DiskError) { files.withLock { $0[path] = nil } }
    func syncDirectory(_ path: String) throws(DiskError) {}
    func list(_ path: String) throws(DiskError) -> [String] {
        files.withLock { $0.keys.map { String($0.split(separator: "/").last ?? "") } }.sorted()
    }
    func exists(_ path: String) -> Bool { files.withLock { $0[path] != nil } }
    func space(at path: String) throws(DiskError) -> (total: UInt64, available: UInt64) {
        (1 << 40, 1 << 40)
    }
}

final class MemoryFile: DiskFile {
    let path: String
    let bytes: Mutex<[UInt8]>

    init(path: String, _ bytes: [UInt8]) {
        self.path = path
        self.bytes = Mutex(bytes)
    }

    func length() throws(DiskError) -> UInt64 { bytes.withLock { UInt64($0.count) } }

    func read(
        into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64
    ) throws(DiskError) -> Int {
        bytes.withLock { bytes in
            guard offset < UInt64(bytes.count) else { return 0 }
            let count = min(buffer.count, bytes.count - Int(offset))
            bytes.withUnsafeBytes {
                buffer.copyMemory(
                    from: UnsafeRawBufferPointer(rebasing: $0[Int(offset)...].prefix(count)))
            }
            return count
        }
    }

    func readCached(
        into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64
    ) throws(DiskError) -> Int? {
        let count = try read(into: buffer, at: offset)
        return count == buffer.count ? count : nil
    }

    func write(_ span: RawSpan, at offset: UInt64) throws(DiskError) {
        let new = span.withUnsafeBytes { Array($0) }
        bytes.withLock { bytes in
            let end = Int(offset) + new.count
            if bytes.count < end { bytes += [UInt8](repeating: 0, count: end - bytes.count) }
            bytes.replaceSubrange(Int(offset)..<end, with: new)
        }
    }

    func sync() throws(DiskError) {}

    func truncate(to length: UInt64) throws(DiskError) {
        bytes.withLock { bytes in
            let missing = Int(length) - bytes.count
            if missing > 0 {
                bytes += [UInt8](repeating: 0, count: missing)
            } else {
                bytes.removeLast(-missing)
            }
        }
    }

    func reserve(at offset: UInt64, length: UInt64) throws(DiskError) {}
    func startWriteback(at offset: UInt64, length: UInt64) {}

    func copy(
        from source: any DiskFile, at sourceOffset: UInt64, to offset: UInt64, length: UInt64
    ) throws(DiskError) {
        let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(length), alignment: 16)
        defer { piece.deallocate() }
        guard try source.read(into: piece, at: sourceOffset) == piece.count else {
            throw DiskError(call: "copy", path: path, code: EIO)
        }
        try write(UnsafeRawBufferPointer(piece).bytes, at: offset)
    }

    func duplicateDescriptor() throws(DiskError) -> CInt {
        throw DiskError(call: "dup", path: path, code: ENOTSUP)
    }
}
