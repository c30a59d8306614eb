import Logging
import Model
import NIOCore
import NIOPosix
import Needles
import Platform
import Synchronization

/// A needle, whatever its cookie.
struct NeedleRef: Hashable, Sendable {
    let volume: VolumeID
    let key: NeedleKey

    init(_ id: FileID) {
        volume = id.volume
        key = id.key
    }
}

/// What this server has to know so that copies become equal whatever happens: the changes it is
/// carrying out on several servers, and its debts, the files whose copies may differ.
///
/// A debt is written down before the client hears of the failure. It says nothing of what failed:
/// paying it means to make the other copies what the one here is, so it may be paid twice, late, or
/// after the file changed again.
final class Ledger: Sendable {
    /// Debts that may be open; with more, volumes with copies take no changes.
    static let debtLimit = 1 << 20
    /// Records above which the file of debts is written anew when most of them are paid.
    static let rewriteRecords = 4096

    /// Who waits for an earlier change of the same file.
    private struct Waiter {
        let id: FileID
        let start: @Sendable (Int) -> Void
    }

    private struct State {
        /// With who writes, while `isWriting`.
        var file: DebtFile
        /// `nil` when there is no room for it: then a killed process forgets what was under way.
        var flights: FlightFile?
        /// Changes that this server leads, by needle: the first is under way.
        var leading: [NeedleRef: [Waiter]] = [:]
        /// Changes under way that another server leads.
        var following: [NeedleRef: Int] = [:]
        /// Debts being paid; whether the needle was changed since.
        var mending: [NeedleRef: Bool] = [:]
        var debts: [Debt: UInt64] = [:]
        var freeSlots: [Int] = []
        var changes: [DebtFile.Change] = []
        var waiting: [@Sendable () -> Void] = []
        var isWriting = false
    }

    private let state: Mutex<State>
    private let pool: NIOThreadPool
    private let logger: Logger

    /// Reads what is owed; changes that were under way when the process ended become debts.
    ///
    /// Blocks.
    init(
        in directory: String, disk: any Disk, pool: NIOThreadPool, logger: Logger
    ) throws {
        var debts: [Debt: UInt64] = [:]
        var damaged = 0
        var file = try DebtFile(in: directory, disk: disk, debts: &debts, damaged: &damaged)
        var found: [FileID] = []
        let mapped: FlightFile?
        do throws(FlightError) {
            mapped = try FlightFile(in: directory, found: &found)
        } catch {
            logger.error("changes under way will not be known after a crash: \(error)")
            mapped = nil
        }
        if damaged > 0 {
            logger.error("\(directory)/\(DebtFile.name): \(damaged) records do not verify")
        }
        let now = WallClock.seconds
        var changes: [DebtFile.Change] = []
        for id in found where debts[Debt(id)] == nil {
            debts[Debt(id)] = now
            changes.append(DebtFile.Change(debt: Debt(id), since: now))
        }
        if !changes.isEmpty { try file.append(changes) }
        for slot in 0..<FlightFile.slots { mapped?.clear(slot) }
        self.pool = pool
        self.logger = logger
        if !debts.isEmpty {
            logger.warning("\(debts.count) files may have copies that differ; comparing them")
        }
        var state = State(file: file, flights: mapped)
        state.debts = debts
        state.freeSlots = Array((0..<FlightFile.slots).reversed())
        self.state = Mutex(state)
    }

    // MARK: Changes under way

    /// What came of asking to begin.
    enum Begin {
        /// Begun; end it with this number.
        case started(Int)
        /// `start` will be called, on any thread, when the earlier change of the file is over.
        case waiting
        /// Too much is under way or owed.
        case refused(String)
    }

    /// Begins a change that this server leads.
    ///
    /// Two changes of one file never run at the same time: they might reach the holders in
    /// different order.
    func begin(_ id: FileID, start: @escaping @Sendable (Int) -> Void) -> Begin {
        let ref = NeedleRef(id)
        return state.withLock { state in
            guard state.debts.count < Ledger.debtLimit else {
                return .refused(
                    "\(Ledger.debtLimit) files wait to be made equal on other servers: see that "
                        + "all servers are up")
            }
            if state.mending[ref] != nil { state.mending[ref] = true }
            guard state.leading[ref] == nil else {
                state.leading[ref]?.append(Waiter(id: id, start: start))
                return .waiting
            }
            guard let slot = state.freeSlots.popLast() else {
                return .refused("\(FlightFile.slots) changes of replicated files are under way")
            }
            state.leading[ref] = []
            state.flights?.set(slot, id)
            return .started(slot)
        }
    }

    /// Ends a change that this server leads.
    func end(_ id: FileID, _ slot: Int) {
        let ref = NeedleRef(id)
        let next = state.withLock { state -> Waiter? in
            guard var waiters = state.leading[ref], !waiters.isEmpty else {
                state.leading[ref] = nil
                state.flights?.clear(slot)
                state.freeSlots.append(slot)
                return nil
            }
            let next = waiters.removeFirst()
            state.leading[ref] = waiters
            state.flights?.set(slot, next.id)
            return next
        }
        next?.start(slot)
    }

    /// Begins a change that another server leads; `false` while this server leads one of the same
    /// file.
    func follow(_ id: FileID) -> Bool {
        let ref = NeedleRef(id)
        return state.withLock { state in
            guard state.leading[ref] == nil else { return false }
            state.following[ref, default: 0] += 1
            if state.mending[ref] != nil { state.mending[ref] = true }
            return true
        }
    }

    /// Ends a change that another server leads.
    func unfollow(_ id: FileID) {
        let ref = NeedleRef(id)
        state.withLock { state in
            guard let count = state.following[ref], count > 1 else {
                state.following[ref] = nil
                return
            }
            state.following[ref] = count - 1
        }
    }

    // MARK: Debts

    /// Writes down that copies of a file may differ; `done` is called, on any thread, when that is
    /// on disk.
    ///
    /// When it cannot be written it is remembered in memory, and the log says so.
    func owe(_ id: FileID, done: @escaping @Sendable () -> Void) {
        let now = WallClock.seconds
        let mustWrite = state.withLock { state -> Bool in
            let debt = Debt(id)
            if state.debts[debt] == nil {
                state.debts[debt] = now
                state.changes.append(DebtFile.Change(debt: debt, since: now))
            }
            if state.mending[NeedleRef(id)] != nil { state.mending[NeedleRef(id)] = true }
            state.waiting.append(done)
            return Ledger.takeTurn(&state)
        }
        if mustWrite { write() }
    }

    /// Files whose copies may differ, since when, unix seconds.
    var debts: [Debt: UInt64] { state.withLock { $0.debts } }

    /// How many there are.
    var debtCount: Int { state.withLock { $0.debts.count } }

    /// Begins to pay a debt; `false` while the file is being changed.
    func beginMending(_ debt: Debt) -> Bool {
        let ref = NeedleRef(debt.fileID)
        return state.withLock { state in
            guard state.leading[ref] == nil, state.following[ref] == nil,
                state.mending[ref] == nil
            else { return false }
            state.mending[ref] = false
            return true
        }
    }

    /// Ends it; the debt is paid if the copies were made equal and nobody changed the file
    /// meanwhile.
    ///
    /// Returns whether it is paid.
    @discardableResult
    func endMending(_ debt: Debt, isEqual: Bool) -> Bool {
        let ref = NeedleRef(debt.fileID)
        let (isPaid, mustWrite) = state.withLock { state -> (Bool, Bool) in
            let wasChanged = state.mending.removeValue(forKey: ref) ?? true
            guard isEqual, !wasChanged else { return (false, false) }
            return (true, Ledger.drop(debt, &state))
        }
        if mustWrite { write() }
        return isPaid
    }

    /// Forgets a debt of a volume that is not here any more.
    func drop(_ debt: Debt) {
        if state.withLock({ Ledger.drop(debt, &$0) }) { write() }
    }

    private static func drop(_ debt: Debt, _ state: inout State) -> Bool {
        guard state.debts.removeValue(forKey: debt) != nil else { return false }
        state.changes.append(DebtFile.Change(debt: debt, since: 0))
        return takeTurn(&state)
    }

    private static func takeTurn(_ state: inout State) -> Bool {
        guard !state.isWriting else { return false }
        state.isWriting = true
        return true
    }

    /// Writes what waits, on a disk thread, until nothing does.
    private func write() {
        pool.submit { [self] _ in
            while let job = takeJob() {
                let file = write(job)
                state.withLock { $0.file = file }
                for done in job.waiting { done() }
            }
        }
    }

    /// What is to be written.
    private struct Job {
        var file: DebtFile
        var changes: [DebtFile.Change]
        var waiting: [@Sendable () -> Void]
        /// Everything owed, when the file is to be written anew.
        var all: [Debt: UInt64]?
    }

    /// The next job; `nil`, and nobody is writing any more, when nothing waits.
    private func takeJob() -> Job? {
        state.withLock { state in
            guard !state.changes.isEmpty || !state.waiting.isEmpty else {
                state.isWriting = false
                return nil
            }
            let file = state.file
            let mustRewrite =
                file.isBehind
                || file.records > Ledger.rewriteRecords
                    && file.records > 4 * state.debts.count
            defer {
                state.changes = []
                state.waiting = []
            }
            return Job(
                file: file, changes: state.changes, waiting: state.waiting,
                all: mustRewrite ? state.debts : nil)
        }
    }

    private func write(_ job: Job) -> DebtFile {
        var file = job.file
        do throws(DiskError) {
            if let all = job.all {
                try file.rewrite(all)
            } else if !job.changes.isEmpty {
                try file.append(job.changes)
            }
        } catch {
            file.isBehind = true
            logger.error(
                """
                \(job.changes.count) changes of \(DebtFile.name) could not be written, they are \
                remembered in memory until the next one is: \(error)
                """)
        }
        return file
    }
}
