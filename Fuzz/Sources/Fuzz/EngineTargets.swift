import Glibc
import Logging
import Model
import NIOCore
import Platform
import Synchronization

@testable import Needles

/// Needle decoding and recovery.
enum EngineTargets {
    static let all = [
        FuzzTarget(name: "needle", run: needle), FuzzTarget(name: "scan", run: scan),
        FuzzTarget(name: "volume", run: volume), FuzzTarget(name: "recovery", run: recovery),
    ]

    /// One record: version, then its bytes.
    static func needle(_ input: ByteInput) {
        var input = input
        let version = input.byte() % 3 + 1
        let bytes = input.all
        let record = ByteBuffer(bytes: bytes)
        guard let header = RecordHeader(record, at: 0), header.isPlausible else { return }
        guard
            let needle = try? StoredNeedle(
                record: record, volume: 1, version: version, offset: 8, id: header.id,
                size: header.size)
        else { return }
        precondition(needle.length <= UInt64(header.size), "more data than the record")
        precondition((needle.name?.readableBytes ?? 0) <= 255, "a name of more than 255 bytes")
        _ = needle.isExpired(at: .max)
        _ = needle.isExpired(at: 0)
    }

    /// A data file of any bytes, walked as recovery does.
    static func scan(_ input: ByteInput) {
        let file = MemoryFile(path: "scan", input.all)
        guard let data = try? DataFile(volume: 1, opening: file),
            let length = try? file.length()
        else { return }
        for strict in [false, true] {
            var scanner = RecordScanner(
                data, from: data.superBlock.firstRecord, to: length, rejectsBrokenSeals: strict)
            var last: UInt64 = 0
            walk: while let step = try? scanner.next() {
                switch step {
                case .end: break walk
                case .record(let record):
                    precondition(record.offset >= last && record.end > record.offset, "goes back")
                    last = record.end
                case .damage:
                    let place = scanner.position
                    guard let next = try? scanner.resynchronise(since: 0) else { break walk }
                    precondition(next.offset > place, "resynchronising stands still")
                }
            }
        }
    }

    /// A data file of any bytes, opened, read, written to and opened again.
    static func recovery(_ input: ByteInput) {
        let disk = MemoryDisk()
        disk.put("/v/1.dat", input.all)
        let box = Box(disk)
        guard let volume = box.open() else { return }
        for (key, _) in volume.entries { _ = try? volume.read(key, cookie: 0) }
        volume.put(77, [1, 2, 3])
        box.reopen(volume)
    }

    /// A sound volume that is damaged afterwards.
    ///
    /// Input: `count, (kind, key, size) …, closed, (offset, offset, xor) …`. What is read must have been
    /// written under that key once.
    static func volume(_ input: ByteInput) {
        var input = input
        let box = Box(MemoryDisk())
        guard var volume = box.create() else { preconditionFailure("no volume") }
        var versions: [NeedleKey: Set<[UInt8]>] = [:]
        for number in 0..<Int(input.byte() % 24) {
            let kind = input.byte()
            let key = NeedleKey(input.byte() % 8) + 1
            let size = Int(input.byte())
            let bytes = (0..<size).map {
                UInt8(truncatingIfNeeded: $0 &* 31 &+ number &* 7 + Int(key))
            }
            if kind % 5 == 0 {
                volume.drop(key)
            } else {
                volume.put(key, bytes, name: kind % 3 == 0 ? "name" : nil)
                versions[key, default: []].insert(bytes)
            }
            if kind == 255 { try? volume.checkpoint() }
        }
        let isClosed = input.byte() % 2 == 0
        if isClosed { volume.close() } else { volume.abandon() }
        let file = box.disk.files.withLock { $0["/v/1.dat"] }
        file?.bytes.withLock { bytes in
            while !input.isEmpty {
                let place = input.word()
                let mask = input.byte()
                if place < bytes.count { bytes[place] ^= mask } else { bytes.append(mask) }
            }
        }
        if isClosed { box.removeIndexes() }
        guard let damaged = box.open() else { return }
        volume = damaged
        for (key, entry) in volume.entries where !entry.isDeleted {
            guard let needle = try? volume.read(key, cookie: 0xc0ffee),
                case .bytes(let found) = needle.body,
                let known = versions[key]
            else { continue }
            let bytes = Array(found.readableBytesView)
            precondition(
                known.contains(bytes) || bytes.isEmpty, "needle \(key) has bytes never written")
        }
        volume.put(9, [9])
        try? volume.compact()
        _ = try? volume.commitCompaction()
        box.reopen(volume)
    }
}

/// A volume in memory with its index in a directory of its own.
final class Box {
    let disk: MemoryDisk
    private let index: String
    private let inline = WorkerPool(name: "inline", count: 0)
    private static let serial = Atomic<Int>(0)

    init(_ disk: MemoryDisk) {
        self.disk = disk
        let number = Box.serial.add(1, ordering: .relaxed).newValue
        let base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"
        index = "\(base)/fuzz-\(getpid())-\(number)"
        mkdir(index, 0o755)
    }

    deinit {
        for name in (try? PosixDisk().list(index)) ?? [] { unlink("\(index)/\(name)") }
        rmdir(index)
    }

    private var paths: VolumePaths {
        VolumePaths(directory: "/v", indexDirectory: index, name: VolumeName(collection: "", id: 1))
    }

    private var environment: VolumeEnvironment {
        VolumeEnvironment(
            disk: disk, sync: .always, committers: inline, maintainers: inline,
            logger: Logger(label: "fuzz", factory: { _ in SwiftLogNoOpLogHandler() }),
            compactionBytesPerSecond: 0, onChange: {}, now: { WallClock.nanoseconds })
    }

    func create() -> Volume? {
        try? Volume.create(
            paths: paths, environment: environment, diskID: 0, diskType: "", replication: .single,
            ttl: .none, preallocate: 0)
    }

    func open() -> Volume? {
        try? Volume.open(paths: paths, environment: environment, diskID: 0, diskType: "").0
    }

    func removeIndexes() {
        for number in paths.indexGenerations() { paths.removeIndex(number) }
    }

    /// Closes and opens once more: what was readable still is.
    func reopen(_ volume: Volume) {
        let before = volume.entries.filter { !$0.value.isDeleted }.keys.sorted()
        volume.close()
        guard let again = open() else { preconditionFailure("does not open a second time") }
        let after = again.entries.filter { !$0.value.isDeleted }.keys.sorted()
        precondition(before == after, "needles changed by opening: \(before), \(after)")
        again.close()
    }
}

extension Volume {
    var entries: [NeedleKey: IndexEntry] {
        let (generation, recent) = state.withLock { ($0.generation, $0.recent) }
        var entries: [NeedleKey: IndexEntry] = [:]
        try? generation.index.forEach { key, entry in entries[key] = entry }
        return entries.merging(recent) { _, new in new }
    }

    func put(_ key: NeedleKey, _ bytes: [UInt8], name: String? = nil) {
        var content = NeedleContent(body: .bytes(ByteBuffer(bytes: bytes)))
        content.name = name
        write(key, cookie: 0xc0ffee, content) { _ in }
    }

    func drop(_ key: NeedleKey) { delete(key, cookie: 0xc0ffee) { _ in } }

    func abandon() { state.withLock { $0.generation }.index.close() }
}
