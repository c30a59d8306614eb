import Glibc
import LMDB
import Logging
import Model
import NIOCore
import Platform
import Synchronization

@testable import Needles

/// A directory of its own for one test, removed with the object.
final class Scratch: Sendable {
    let path: String

    init() {
        let base = unsafe getenv("TMPDIR").map { unsafe String(cString: $0) } ?? "/tmp"
        path = "\(base)/needles-\(getpid())-\(UInt64.random(in: .min ... .max))"
        precondition(unsafe mkdir(path, 0o755) == 0, "no directory \(path): errno \(errno)")
    }

    deinit { Scratch.remove(path) }

    /// Names in it.
    var names: [String] { (try? PosixDisk().list(path)) ?? [] }

    func file(_ name: String) -> String { "\(path)/\(name)" }

    static func remove(_ path: String) {
        for name in (try? PosixDisk().list(path)) ?? [] {
            let entry = "\(path)/\(name)"
            if unsafe unlink(entry) != 0 { remove(entry) }
        }
        _ = unsafe rmdir(path)
    }

    func bytes(_ name: String) throws -> [UInt8] {
        try PosixDisk().readFile(file(name), limit: 1 << 30)
    }

    func write(_ name: String, _ bytes: [UInt8]) throws {
        let file = try PosixDisk().open(file(name), .createOrTruncate)
        try unsafe file.write(bytes.span.bytes, at: 0)
    }

    /// Changes a file's bytes in place.
    func edit(_ name: String, _ change: (inout [UInt8]) -> Void) throws {
        var content = try bytes(name)
        change(&content)
        try write(name, content)
    }

    /// Copies the files of another directory here.
    func copy(from directory: String) throws {
        for name in try PosixDisk().list(directory) {
            try write(name, try PosixDisk().readFile("\(directory)/\(name)", limit: 1 << 30))
        }
    }
}

/// Opens and closes one volume as a store would, with threads of its own.
final class Bench {
    let scratch: Scratch
    let name: VolumeName
    let disk: any Disk
    var sync = SyncMode.always
    var bytesPerSecond = 0
    /// What the clock says; `nil` for the real one.
    let clock: (@Sendable () -> UInt64)?
    private let committers = WorkerPool(name: "commit", count: 2)
    private let maintainers = WorkerPool(name: "maintain", count: 1)
    let changes = Mutex(0)

    init(
        _ scratch: Scratch = Scratch(), volume: VolumeName = VolumeName(collection: "", id: 1),
        disk: any Disk = PosixDisk(), clock: (@Sendable () -> UInt64)? = nil
    ) {
        self.scratch = scratch
        name = volume
        self.disk = disk
        self.clock = clock
    }

    deinit {
        maintainers.shutdown()
        committers.shutdown()
    }

    var paths: VolumePaths {
        VolumePaths(directory: scratch.path, indexDirectory: scratch.path, name: name)
    }

    var environment: VolumeEnvironment {
        VolumeEnvironment(
            disk: disk, sync: sync, committers: committers, maintainers: maintainers,
            logger: quiet, compactionBytesPerSecond: bytesPerSecond,
            onChange: {}, now: clock ?? { WallClock.nanoseconds })
    }

    func create(
        ttl: TimeToLive = .none, replication: ReplicaPlacement = .single
    ) throws -> Volume {
        try Volume.create(
            paths: paths, environment: environment, diskID: 0, diskType: "",
            replication: replication, ttl: ttl, preallocate: 0)
    }

    func open() throws -> (volume: Volume, report: RecoveryReport) {
        let (volume, report) = try Volume.open(
            paths: paths, environment: environment, diskID: 0, diskType: "")
        return (volume, report)
    }

    /// Name of the newest index file.
    var indexFile: String? {
        paths.indexGenerations().first.map { "\(name).\($0).lmdb" }
    }

    func removeIndexes() {
        for number in paths.indexGenerations() { paths.removeIndex(number) }
    }

    var dataFile: String { "\(name).dat" }
}

let quiet = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

extension Volume {
    /// Writes and waits.
    @discardableResult
    func put(
        _ key: NeedleKey, _ bytes: [UInt8], cookie: UInt32 = 0xc0ffee, forceSync: Bool = false,
        _ change: (inout NeedleContent) -> Void = { _ in }
    ) throws -> WriteReceipt {
        var content = NeedleContent(body: .bytes(ByteBuffer(bytes: bytes)))
        change(&content)
        return try put(key, content, cookie: cookie, forceSync: forceSync)
    }

    @discardableResult
    func put(
        _ key: NeedleKey, _ content: NeedleContent, cookie: UInt32 = 0xc0ffee,
        forceSync: Bool = false
    ) throws -> WriteReceipt {
        let done = Completion<Result<WriteReceipt, NeedleError>>()
        write(key, cookie: cookie, content, forceSync: forceSync) { done.complete($0) }
        return try done.wait().get()
    }

    /// Deletes and waits.
    @discardableResult
    func drop(_ key: NeedleKey, cookie: UInt32 = 0xc0ffee) throws -> UInt32 {
        let done = Completion<Result<UInt32, NeedleError>>()
        delete(key, cookie: cookie) { done.complete($0) }
        return try done.wait().get()
    }

    /// The bytes of a needle; `nil` when there is none.
    func get(_ key: NeedleKey, cookie: UInt32 = 0xc0ffee) throws -> [UInt8]? {
        try read(key, cookie: cookie).map { try $0.allBytes() }
    }

    /// Forgets the volume as a killed process would: nothing is tidied.
    func abandonWithoutClosing() {
        state.withLock { $0.generation }.index.close()
    }

    /// Keys, bytes and cookies of everything live, by walking index and recent needles.
    func liveSet() throws -> [NeedleKey: [UInt8]] {
        var entries: [NeedleKey: IndexEntry] = [:]
        try state.withLock { $0.generation }.index.forEach { key, entry in entries[key] = entry }
        let (sealed, recent) = state.withLock { ($0.sealed ?? [:], $0.recent) }
        entries.merge(sealed) { _, new in new }
        entries.merge(recent) { _, new in new }
        var live: [NeedleKey: [UInt8]] = [:]
        let data = state.withLock { $0.generation.data }
        for (key, entry) in entries where !entry.isDeleted {
            live[key] = try data.read(key, entry).allBytes()
        }
        return live
    }
}

extension StoredNeedle {
    func allBytes() throws -> [UInt8] {
        switch body {
        case .bytes(let buffer): return Array(buffer.readableBytesView)
        case .file(let file):
            return Array(try file.read(at: 0, count: Int(file.length)).readableBytesView)
        }
    }

    var nameText: String? { name.map { String(buffer: $0) } }
    var mimeText: String? { mime.map { String(buffer: $0) } }
    var pairsText: String? { pairs.map { String(buffer: $0) } }
}

/// Bytes that can be told from any other key's or version's.
func pattern(_ seed: UInt64, _ count: Int) -> [UInt8] {
    var generator = SeededGenerator(seed: seed &+ 1)
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count + 8)
    while bytes.count < count {
        var word = generator.next()
        for _ in 0..<8 {
            bytes.append(UInt8(truncatingIfNeeded: word))
            word >>= 8
        }
    }
    bytes.removeLast(bytes.count - count)
    return bytes
}

/// Where every record of a data file lies, by the scanner.
func records(_ bench: Bench) throws -> [ScannedRecord] {
    let file = try PosixDisk().open(bench.paths.data, .read)
    let data = try DataFile(volume: bench.name.id, opening: file)
    var scanner = RecordScanner(data, from: data.superBlock.firstRecord, to: try file.length())
    var found: [ScannedRecord] = []
    while case .record(let record) = try scanner.next() { found.append(record) }
    return found
}

/// CRC-32C of bytes.
func crc(_ bytes: [UInt8]) -> UInt32 { unsafe CRC32C.checksum(bytes.span.bytes) }

extension NeedleIndex {
    /// Stores an entry whose checksum is wrong.
    func corruptEntry(of key: NeedleKey) throws {
        let entry = try lookup(key) ?? IndexEntry(offset: 8, size: 0)
        let words = entry.words(for: key + 1)
        try environment.write { transaction throws(LMDBError) in
            try transaction.put16(words.0, words.1, for: key, in: entries)
        }
    }
}
