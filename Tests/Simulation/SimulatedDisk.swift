import Glibc
import Platform
import Synchronization

/// A disk in memory that loses what was not synced when the power is cut.
///
/// What survives a cut, as strictly as file systems allow:
/// - of bytes written since a file's last sync every 512-byte sector survives or not by chance, in
///   any order;
/// - so do changes of the length, each with the state it had then;
/// - a creation, rename or removal survives for sure only once the directory is synced; each one
///   else by chance.
///
/// A cut strikes at a given operation: that one may still reach the disk in part, and every call
/// after it fails.
final class SimulatedDisk: Disk {
    static let sector = 512

    /// One change of a directory.
    enum DirectoryChange {
        case link(String, Inode)
        case unlink(String)
        case rename(from: String, to: String, Inode)
    }

    struct State {
        var names: [String: Inode] = [:]
        var durableNames: [String: Inode] = [:]
        var changes: [DirectoryChange] = []
        var operations = 0
        var cutAt: Int?
        var isCut = false
        var trace: UInt64 = 0xcbf2_9ce4_8422_2325
        var lastOperation = ""
        var failNextWrite: CInt?
        var failNextSync: CInt?
    }

    /// Operations that claim success and do nothing: a planted bug.
    enum Lie: Sendable { case sync, syncDirectory, truncateFurther }

    let state = Mutex(State())
    /// Called once when the power is cut, before the failing call returns.
    let whenCut = Mutex<(@Sendable () -> Void)?>(nil)
    /// Decides which calls lie.
    let lie = Mutex<(@Sendable (Lie, String) -> Bool)?>(nil)
    let space: UInt64 = 1 << 40

    init() {}

    /// Number of operations so far that a cut can strike at.
    var operations: Int { state.withLock { $0.operations } }
    var isCut: Bool { state.withLock { $0.isCut } }
    /// Folds kind and place of every operation: equal traces, equal runs.
    var trace: UInt64 { state.withLock { $0.trace } }

    /// Cuts the power at the `count`-th operation from now.
    func cut(after count: Int?) {
        state.withLock { state in state.cutAt = count.map { state.operations + $0 } }
    }

    /// Counts an operation; throws when the power is off.
    ///
    /// Returns whether it is the one that the cut strikes.
    func begin(
        _ call: String, _ path: String, _ place: UInt64 = 0, _ length: Int = 0
    ) throws(DiskError) -> Bool {
        let (wasCut, strikes) = state.withLock { state -> (Bool, Bool) in
            if state.isCut { return (true, false) }
            state.operations += 1
            state.lastOperation = "\(call) \(path)"
            var fold = state.trace
            for byte in call.utf8 { fold = (fold ^ UInt64(byte)) &* 0x100_0000_01b3 }
            fold = (fold ^ place) &* 0x100_0000_01b3
            fold = (fold ^ UInt64(length)) &* 0x100_0000_01b3
            state.trace = fold
            if state.operations == state.cutAt {
                state.isCut = true
                return (false, true)
            }
            return (false, false)
        }
        if wasCut { throw off(call, path) }
        return strikes
    }

    /// Reports the cut to whoever waits for it and gives the error of the struck call.
    func strike(_ call: String, _ path: String) -> DiskError {
        whenCut.withLock { handler in
            defer { handler = nil }
            return handler
        }?()
        return off(call, path)
    }

    func off(_ call: String, _ path: String) -> DiskError {
        DiskError(call: call, path: path, code: ENXIO)
    }

    func lies(_ kind: Lie, _ path: String) -> Bool {
        lie.withLock { $0 }?(kind, path) ?? false
    }

    func open(_ path: String, _ mode: OpenMode) throws(DiskError) -> any DiskFile {
        let known = state.withLock { $0.names[path] }
        switch mode {
        case .read, .readWrite:
            if isCut { throw off("open", path) }
            guard let known else { throw DiskError(call: "open", path: path, code: ENOENT) }
            return SimulatedFile(path: path, inode: known, disk: self)
        case .create, .createOrTruncate:
            if known != nil, mode == .create {
                throw DiskError(call: "open", path: path, code: EEXIST)
            }
            let strikes = try begin("create", path)
            let inode = known ?? Inode()
            if known != nil {
                inode.truncate(to: 0)
            } else {
                state.withLock { state in
                    state.names[path] = inode
                    state.changes.append(.link(path, inode))
                }
            }
            if strikes { throw strike("create", path) }
            return SimulatedFile(path: path, inode: inode, disk: self)
        }
    }

    func openNameless(in directory: String) throws(DiskError) -> any DiskFile {
        if isCut { throw off("open", directory) }
        return SimulatedFile(path: directory + "/(nameless)", inode: Inode(), disk: self)
    }

    func rename(_ path: String, to newPath: String) throws(DiskError) {
        let strikes = try begin("rename", path)
        let done = state.withLock { state -> Bool in
            guard let inode = state.names.removeValue(forKey: path) else { return false }
            state.names[newPath] = inode
            state.changes.append(.rename(from: path, to: newPath, inode))
            return true
        }
        if strikes { throw strike("rename", path) }
        guard done else { throw DiskError(call: "rename", path: path, code: ENOENT) }
    }

    func remove(_ path: String) throws(DiskError) {
        let strikes = try begin("remove", path)
        state.withLock { state in
            if state.names.removeValue(forKey: path) != nil { state.changes.append(.unlink(path)) }
        }
        if strikes { throw strike("remove", path) }
    }

    func syncDirectory(_ path: String) throws(DiskError) {
        if try begin("syncDirectory", path) { throw strike("syncDirectory", path) }
        if lies(.syncDirectory, path) { return }
        state.withLock { state in
            state.durableNames = state.names
            state.changes = []
        }
    }

    func list(_ path: String) throws(DiskError) -> [String] {
        if isCut { throw off("list", path) }
        let prefix = path + "/"
        return state.withLock { state in
            state.names.keys.filter { $0.hasPrefix(prefix) }.map {
                String($0.dropFirst(prefix.count))
            }
        }.sorted()
    }

    func exists(_ path: String) -> Bool { state.withLock { $0.names[path] != nil } }

    func space(at path: String) throws(DiskError) -> (total: UInt64, available: UInt64) {
        (space, space)
    }

    /// Only the process died: everything written is still in the system's memory, or on the disk.
    func revive() {
        state.withLock { state in
            state.isCut = false
            state.cutAt = nil
        }
    }

    /// What a file holds now; `nil` when there is none.
    func content(_ path: String) -> [UInt8]? { state.withLock { $0.names[path] }?.content }

    /// The disk after the power came back: what had been synced, and by chance some of what had
    /// not.
    func afterPowerCut(
        _ generator: inout SeededGenerator, counting coverage: inout Coverage
    ) -> SimulatedDisk {
        let (durable, changes) = state.withLock { ($0.durableNames, $0.changes) }
        var names = durable
        let chance = SimulatedDisk.chance(&generator)
        for change in changes {
            guard Int.random(in: 0..<100, using: &generator) < chance else {
                coverage.lostDirectoryChanges += 1
                continue
            }
            switch change {
            case .link(let name, let inode): names[name] = inode
            case .unlink(let name): names[name] = nil
            case .rename(let from, let to, let inode):
                if names[from] === inode { names[from] = nil }
                names[to] = inode
            }
        }
        let disk = SimulatedDisk()
        for name in names.keys.sorted() {
            guard let inode = names[name] else { continue }
            let image = inode.afterPowerCut(&generator, SimulatedDisk.chance(&generator), &coverage)
            let copy = Inode(durable: image)
            disk.state.withLock { state in
                state.names[name] = copy
                state.durableNames[name] = copy
            }
        }
        return disk
    }

    /// In percent: often everything or nothing survives, else some.
    private static func chance(_ generator: inout SeededGenerator) -> Int {
        [0, 20, 50, 50, 80, 95, 100].randomElement(using: &generator) ?? 50
    }
}
