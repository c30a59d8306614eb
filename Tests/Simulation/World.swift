import Glibc
import Logging
import Model
import NIOCore
import Platform
import Synchronization

@testable import Needles

/// A planted bug that the invariants must notice.
enum Mutant: String, CaseIterable, Sendable {
    /// Answers come before the sync.
    case noSyncBeforeAnswer
    /// Batches of deletes are not synced.
    case deletesNotSynced
    /// The index says "covered" before the data is on disk.
    case watermarkBeforeData
    /// The copy of a compaction is not synced before it takes over.
    case switchWithoutSync
    /// The rename at the end of a compaction is not made durable.
    case switchWithoutDirectorySync
    /// A tail is cut at the first damage, although whole needles follow.
    case cutAtFirstDamage
    /// A tail is cut below the last whole needle.
    case cutTooLow
    /// What a killed process left unsynced is taken as durable.
    case noSyncAtOpen
}

/// What is going on when the disk is called.
enum Phase: Sendable { case idle, batch, deletes, checkpoint, compaction, switching, recovery }

/// One volume on a simulated disk, what it must hold, and the means to cut its power.
final class World {
    static let volume = VolumeName(collection: "", id: 1)
    static let directory = "/disk"

    let seed: UInt64
    let mutant: Mutant?
    let mode: SyncMode
    var generator: SeededGenerator
    var disk = SimulatedDisk()
    var oracle = Oracle()
    var coverage = Coverage()
    var open: Volume?
    /// Folds the traces of all disks.
    var trace: UInt64 = 0
    let phase = Shared(Phase.idle)
    private let root: String
    private var indexNumber = 0
    private let clock = Shared<UInt64>(1_780_000_000_000_000_000)
    private let inline = WorkerPool(name: "inline", count: 0)

    init(seed: UInt64, mutant: Mutant? = nil) {
        self.seed = seed
        self.mutant = mutant
        generator = SeededGenerator(seed: seed)
        let modes: [SyncMode] = [
            .always, .always, .always, .always, .none, .interval(milliseconds: 5),
        ]
        switch mutant {
        case .watermarkBeforeData: mode = .none
        case nil: mode = modes.randomElement(using: &generator) ?? .always
        default: mode = .always
        }
        let base = unsafe access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"
        root = "\(base)/simulation-\(getpid())-\(seed)-\(UInt64.random(in: .min ... .max))"
        precondition(unsafe mkdir(root, 0o755) == 0, "no directory \(root): errno \(errno)")
        precondition(unsafe mkdir(indexDirectory, 0o755) == 0, "no directory for indexes")
    }

    deinit { World.removeTree(root) }

    var indexDirectory: String { "\(root)/index-\(indexNumber)" }
    private var shadow: String { "\(root)/shadow" }

    func paths(index: String? = nil) -> VolumePaths {
        VolumePaths(
            directory: World.directory, indexDirectory: index ?? indexDirectory,
            name: World.volume)
    }

    func environment(_ disk: SimulatedDisk) -> VolumeEnvironment {
        let clock = clock
        return VolumeEnvironment(
            disk: disk, sync: mode, committers: inline, maintainers: inline,
            logger: Logger(label: "simulation", factory: { _ in SwiftLogNoOpLogHandler() }),
            compactionBytesPerSecond: 0,
            // short, so that runs of a few writes begin it, outgrow it and end on it
            runway: Runway.Policy(bytes: 8 << 10, groupsBefore: 2), onChange: {},
            now: {
                clock.change { $0 += 1_000_003 }
                return clock.value
            })
    }

    /// Tells what happens, when asked to.
    func tell(_ text: @autoclosure () throws -> String) rethrows {
        if World.isTelling { print(try text()) }
    }

    static let isTelling = unsafe getenv("SIMULATION_TELL") != nil

    func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &generator) < percent }
    func pick(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &generator) }

    func during<R>(_ phase: Phase, _ body: () throws -> R) rethrows -> R {
        let before = self.phase.value
        self.phase.value = phase
        defer { self.phase.value = before }
        return try body()
    }

    /// Makes the disk lie as the mutant has it, and keeps the index as of the cut.
    func arm(cutAfter count: Int?) {
        let phase = phase
        switch mutant {
        case .noSyncBeforeAnswer:
            disk.lie.withLock {
                $0 = { kind, _ in
                    kind == .sync && (phase.value == .batch || phase.value == .deletes)
                }
            }
        case .deletesNotSynced:
            disk.lie.withLock { $0 = { kind, _ in kind == .sync && phase.value == .deletes } }
        case .watermarkBeforeData:
            disk.lie.withLock { $0 = { kind, _ in kind == .sync && phase.value == .checkpoint } }
        case .switchWithoutSync:
            disk.lie.withLock {
                $0 = { kind, path in
                    kind == .sync && path.hasSuffix(".cpd")
                        && (phase.value == .compaction || phase.value == .switching)
                }
            }
        case .switchWithoutDirectorySync:
            disk.lie.withLock {
                $0 = { kind, _ in kind == .syncDirectory && phase.value == .switching }
            }
        case .cutTooLow:
            disk.lie.withLock { $0 = { kind, path in kind == .truncateFurther } }
        case .noSyncAtOpen:
            disk.lie.withLock { $0 = { kind, _ in kind == .sync && phase.value == .recovery } }
        case .cutAtFirstDamage, nil: break
        }
        let (from, to) = (indexDirectory, "\(root)/index-\(indexNumber + 1)")
        disk.whenCut.withLock { $0 = { World.copyIndexes(from, to) } }
        disk.cut(after: count)
    }

    /// Remembers index files, so that a removal that a cut undoes can be played.
    func shadowIndexes() {
        unsafe mkdir(shadow, 0o755)
        for name in (try? PosixDisk().list(indexDirectory)) ?? [] where name.hasSuffix(".lmdb") {
            unsafe link("\(indexDirectory)/\(name)", "\(shadow)/\(name)")
        }
    }

    /// The power comes back: the disk has what survived, the index directory what it had at the
    /// cut, and by chance index files whose removal was not durable.
    func powerCut() {
        if !disk.isCut {
            // between two operations
            disk.cut(after: 1)
            try? disk.remove("/disk/nothing")
        }
        trace = trace &* 31 &+ disk.trace
        open?.state.withLock { $0.generation }.index.close()
        open = nil
        disk = disk.afterPowerCut(&generator, counting: &coverage)
        let old = indexDirectory
        indexNumber += 1
        for name in (try? PosixDisk().list(shadow)) ?? []
        where chance(30) {
            // fails where the file is there
            unsafe link("\(shadow)/\(name)", "\(indexDirectory)/\(name)")
        }
        World.removeTree(shadow)
        World.removeTree(old)
        coverage.powerCuts += 1
    }

    /// The process is killed in the middle of an operation: its index is as of then, the disk as it
    /// was left.
    func killInOperation() {
        open?.state.withLock { $0.generation }.index.close()
        open = nil
        disk.revive()
        let old = indexDirectory
        indexNumber += 1
        World.removeTree(old)
        coverage.killsInOperation += 1
    }

    /// Damages the data of a needle on the disk; from then on it may be anything but wrong bytes.
    func rot() throws {
        guard let volume = open else { return }
        let candidates = oracle.names.filter { (oracle.visible($0)?.size ?? 0) > 0 }
        guard let key = candidates.randomElement(using: &generator),
            let (generation, entry) = try volume.locate(key),
            let file = generation.data.file as? SimulatedFile
        else { return }
        file.inode.rot(at: Int(entry.offset) + RecordHeader.length + 4)
        oracle.forget(key)
        coverage.rottenNeedles += 1
        tell("needle \(key) rots at offset \(entry.offset)")
    }

    /// The process dies, the machine goes on: memory of the system is kept.
    func kill() {
        open?.state.withLock { $0.generation }.index.close()
        open = nil
        coverage.kills += 1
    }

    func removeIndexes() {
        for number in paths().indexGenerations() { paths().removeIndex(number) }
    }

    private static func copyIndexes(_ from: String, _ to: String) {
        unsafe mkdir(to, 0o755)
        let files = PosixDisk()
        for name in (try? files.list(from)) ?? [] where name.hasSuffix(".lmdb") {
            guard let bytes = try? files.readFile("\(from)/\(name)", limit: 1 << 28),
                let copy = try? files.open("\(to)/\(name)", .createOrTruncate)
            else { continue }
            try? unsafe copy.write(bytes.span.bytes, at: 0)
        }
    }

    static func removeTree(_ path: String) {
        for name in (try? PosixDisk().list(path)) ?? [] {
            let entry = "\(path)/\(name)"
            if unsafe unlink(entry) != 0 { removeTree(entry) }
        }
        unsafe rmdir(path)
    }
}

/// A value that closures on other threads may read.
final class Shared<Value: Sendable>: Sendable {
    private let stored: Mutex<Value>

    init(_ value: Value) { stored = Mutex(value) }

    var value: Value {
        get { stored.withLock { $0 } }
        set { stored.withLock { $0 = newValue } }
    }

    func change(_ body: (inout Value) -> Void) { stored.withLock { body(&$0) } }
}
