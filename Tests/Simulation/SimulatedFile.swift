import Glibc
import Platform
import Synchronization

/// A file's bytes: as everybody sees them, as the disk has them, and what lies between.
final class Inode: Sendable {
    enum Change {
        case write(UInt64, [UInt8])
        case truncate(Int)
    }

    struct State {
        var content: [UInt8] = []
        var durable: [UInt8] = []
        var changes: [Change] = []
        /// A sync failed: nobody knows what was written, and no later sync brings it.
        var isPoisoned = false
    }

    private let state: Mutex<State>

    init(durable: [UInt8] = []) {
        state = Mutex(State(content: durable, durable: durable))
    }

    var content: [UInt8] { state.withLock { $0.content } }
    var length: Int { state.withLock { $0.content.count } }

    func write(_ bytes: [UInt8], at offset: UInt64) {
        guard !bytes.isEmpty else { return }
        state.withLock { state in
            Inode.put(bytes[...], at: Int(offset), into: &state.content)
            state.changes.append(.write(offset, bytes))
        }
    }

    func truncate(to length: Int) {
        state.withLock { state in
            Inode.resize(&state.content, to: length)
            state.changes.append(.truncate(length))
        }
    }

    func sync() {
        state.withLock { state in
            guard !state.isPoisoned else { return }
            state.durable = state.content
            state.changes = []
        }
    }

    /// A byte changes by itself, on the disk and in memory.
    func rot(at place: Int) {
        state.withLock { state in
            if place < state.content.count { state.content[place] ^= 0x20 }
            if place < state.durable.count { state.durable[place] ^= 0x20 }
        }
    }

    func poison() { state.withLock { $0.isPoisoned = true } }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Int {
        state.withLock { state in
            guard offset < UInt64(state.content.count) else { return 0 }
            let count = min(buffer.count, state.content.count - Int(offset))
            unsafe state.content.withUnsafeBytes { source in
                let part = unsafe UnsafeRawBufferPointer(
                    rebasing: source[Int(offset)..<Int(offset) + count])
                unsafe buffer.copyMemory(from: part)
            }
            return count
        }
    }

    func slice(_ offset: UInt64, _ length: UInt64) -> [UInt8]? {
        state.withLock { state in
            guard offset + length <= UInt64(state.content.count) else { return nil }
            return Array(state.content[Int(offset)..<Int(offset + length)])
        }
    }

    private static func resize(_ bytes: inout [UInt8], to length: Int) {
        if bytes.count > length {
            bytes.removeLast(bytes.count - length)
        } else if bytes.count < length {
            bytes += [UInt8](repeating: 0, count: length - bytes.count)
        }
    }

    private static func put(_ bytes: ArraySlice<UInt8>, at offset: Int, into target: inout [UInt8])
    {
        if target.count < offset + bytes.count { resize(&target, to: offset + bytes.count) }
        target.replaceSubrange(offset..<offset + bytes.count, with: bytes)
    }

    /// What the disk holds after a cut; `chance` in percent that a sector, a length or a cut was
    /// written.
    func afterPowerCut(
        _ generator: inout SeededGenerator, _ chance: Int, _ coverage: inout Coverage
    ) -> [UInt8] {
        let state = state.withLock { $0 }
        guard !state.changes.isEmpty else { return state.durable }
        var image = state.durable
        var lengths = [image.count]
        var length = image.count
        var kept = 0
        var lost = 0
        for change in state.changes {
            switch change {
            case .truncate(let to):
                length = to
                if Int.random(in: 0..<100, using: &generator) < chance, image.count > to {
                    Inode.resize(&image, to: to)
                }
            case .write(let offset, let bytes):
                length = max(length, Int(offset) + bytes.count)
                var start = 0
                while start < bytes.count {
                    let place = Int(offset) + start
                    let end = min(
                        bytes.count,
                        (place / SimulatedDisk.sector + 1) * SimulatedDisk.sector - Int(offset))
                    if Int.random(in: 0..<100, using: &generator) < chance {
                        Inode.put(bytes[start..<end], at: place, into: &image)
                        kept += 1
                    } else {
                        lost += 1
                    }
                    start = end
                }
            }
            lengths.append(length)
        }
        if kept > 0, lost > 0 { coverage.tornFiles += 1 }
        if kept == 0, lost > 0 { coverage.lostFiles += 1 }
        let index =
            Int.random(in: 0..<100, using: &generator) < chance
            ? lengths.count - 1 : Int.random(in: 0..<lengths.count, using: &generator)
        Inode.resize(&image, to: lengths[index])
        return image
    }
}

/// An open file of a ``SimulatedDisk``.
final class SimulatedFile: DiskFile {
    let path: String
    let inode: Inode
    let disk: SimulatedDisk

    init(path: String, inode: Inode, disk: SimulatedDisk) {
        self.path = path
        self.inode = inode
        self.disk = disk
    }

    func length() throws(DiskError) -> UInt64 {
        if disk.isCut { throw disk.off("fstat", path) }
        return UInt64(inode.length)
    }

    func read(
        into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64
    ) throws(DiskError) -> Int {
        if disk.isCut { throw disk.off("pread", path) }
        return unsafe inode.read(into: buffer, at: offset)
    }

    func readCached(
        into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64
    ) throws(DiskError) -> Int? {
        let count = try unsafe read(into: buffer, at: offset)
        return count == buffer.count ? count : nil
    }

    func write(_ bytes: RawSpan, at offset: UInt64) throws(DiskError) {
        let copy = unsafe bytes.withUnsafeBytes { unsafe Array($0) }
        let strikes = try disk.begin("pwrite", path, offset, copy.count)
        let fault = disk.state.withLock { state in
            defer { state.failNextWrite = nil }
            return state.failNextWrite
        }
        if let fault, !strikes {
            inode.write(Array(copy[..<(copy.count / 2)]), at: offset)
            throw DiskError(call: "pwrite", path: path, code: fault)
        }
        inode.write(copy, at: offset)
        if strikes { throw disk.strike("pwrite", path) }
    }

    func sync() throws(DiskError) {
        if try disk.begin("fdatasync", path, UInt64(inode.length)) {
            throw disk.strike("fdatasync", path)
        }
        let isAside = path.contains(".torn-")
        let fault = disk.state.withLock { state -> CInt? in
            if isAside { return nil }
            defer { state.failNextSync = nil }
            return state.failNextSync
        }
        if let fault {
            inode.poison()
            throw DiskError(call: "fdatasync", path: path, code: fault)
        }
        if !disk.lies(.sync, path) { inode.sync() }
    }

    func truncate(to length: UInt64) throws(DiskError) {
        let strikes = try disk.begin("ftruncate", path, length)
        let further = disk.lies(.truncateFurther, path) && length > 200 ? 40 : 0
        inode.truncate(to: Int(length) - further)
        if strikes { throw disk.strike("ftruncate", path) }
    }

    func reserve(at offset: UInt64, length: UInt64) throws(DiskError) {
        if disk.isCut { throw disk.off("fallocate", path) }
    }

    func startWriteback(at offset: UInt64, length: UInt64) {}

    func copy(
        from source: any DiskFile, at sourceOffset: UInt64, to offset: UInt64, length: UInt64
    ) throws(DiskError) {
        let strikes = try disk.begin("copy", path, offset, Int(length))
        guard let source = source as? SimulatedFile,
            let bytes = source.inode.slice(sourceOffset, length)
        else { throw DiskError(call: "copy_file_range", path: path, code: EIO) }
        inode.write(bytes, at: offset)
        if strikes { throw disk.strike("copy", path) }
    }

    func duplicateDescriptor() throws(DiskError) -> CInt {
        throw DiskError(call: "dup", path: path, code: ENOTSUP)
    }
}
