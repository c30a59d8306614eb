import Glibc
import Synchronization

/// Lets transactions in, together, and the one who changes the map in, alone.
///
/// One word counts the transactions inside and carries the flags; entering and leaving cost one
/// atomic operation each. LMDB moves its map only while no transaction is open in the process.
@safe final class Gate: @unchecked Sendable {
    // Unchecked: `state` is atomic, the two pointers never change, what they point to is a
    // pthread mutex and condition, made to be shared.
    private let state = Atomic<UInt64>(0)
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let changed: UnsafeMutablePointer<pthread_cond_t>

    static let countMask: UInt64 = 0xFFFF_FFFF
    private static let exclusive: UInt64 = 1 << 40
    private static let pending: UInt64 = 1 << 41
    private static let closed: UInt64 = 1 << 42
    private static let dead: UInt64 = 1 << 43

    /// How long a newcomer yields to a waiting map change.
    ///
    /// Bounded, because it may be inside a transaction of its own thread for which that change
    /// waits.
    static let courtesyMilliseconds = 100

    /// Why a transaction may not start.
    enum Refusal: Error { case closed, dead }

    init() {
        unsafe mutex = .allocate(capacity: 1)
        unsafe changed = .allocate(capacity: 1)
        unsafe pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        unsafe pthread_condattr_init(&attributes)
        unsafe pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        unsafe pthread_cond_init(changed, &attributes)
        unsafe pthread_condattr_destroy(&attributes)
    }

    deinit {
        unsafe pthread_cond_destroy(changed)
        unsafe pthread_mutex_destroy(mutex)
        unsafe changed.deallocate()
        unsafe mutex.deallocate()
    }

    var isClosed: Bool { state.load(ordering: .acquiring) & Self.closed != 0 }
    var isDead: Bool { state.load(ordering: .acquiring) & Self.dead != 0 }
    /// Transactions inside.
    var count: UInt64 { state.load(ordering: .acquiring) & Self.countMask }

    /// Enters; blocks while the map changes.
    @inline(__always)
    func enter() throws(Refusal) {
        let old = state.add(1, ordering: .acquiringAndReleasing).oldValue
        if old <= Self.countMask { return }
        try enterSlowly(old)
    }

    @inline(never)
    private func enterSlowly(_ first: UInt64) throws(Refusal) {
        var old = first
        var wasCourteous = false
        while true {
            if old & Self.dead != 0 {
                leave()
                throw .dead
            }
            if old & Self.closed != 0 {
                leave()
                throw .closed
            }
            if old & Self.exclusive != 0 {
                leave()
                _ = wait(for: nil) { $0 & Self.exclusive == 0 }
            } else if old & Self.pending != 0, !wasCourteous {
                leave()
                _ = wait(for: Self.courtesyMilliseconds) { $0 & Self.pending == 0 }
                wasCourteous = true
            } else {
                return
            }
            old = state.add(1, ordering: .acquiringAndReleasing).oldValue
        }
    }

    /// Leaves; wakes who waits for the last one.
    @inline(__always)
    func leave() {
        let new = state.subtract(1, ordering: .acquiringAndReleasing).newValue
        if new > Self.countMask, new & Self.countMask == 0 { wake() }
    }

    /// Waits until nobody is inside, then keeps everybody out.
    ///
    /// False when time ran out.
    func lock(milliseconds: Int) -> Bool {
        state.bitwiseOr(Self.pending, ordering: .acquiringAndReleasing)
        let entered = wait(for: milliseconds) { word in
            guard word & (Self.countMask | Self.exclusive) == 0 else { return false }
            return self.state.compareExchange(
                expected: word, desired: word | Self.exclusive | Self.pending,
                ordering: .acquiringAndReleasing
            ).exchanged
        }
        if !entered { clear(Self.pending) }
        return entered
    }

    /// Ends `lock`.
    func unlock() { clear(Self.exclusive | Self.pending) }

    /// Lets nobody in any more: the map is gone.
    func kill() {
        state.bitwiseOr(Self.dead, ordering: .acquiringAndReleasing)
        wake()
    }

    /// Lets nobody in any more and waits for those inside; false when time ran out.
    func close(milliseconds: Int) -> Bool {
        state.bitwiseOr(Self.closed, ordering: .acquiringAndReleasing)
        return wait(for: milliseconds) { $0 & (Self.countMask | Self.exclusive) == 0 }
    }

    private func clear(_ bits: UInt64) {
        state.bitwiseAnd(~bits, ordering: .acquiringAndReleasing)
        wake()
    }

    private func wake() {
        unsafe pthread_mutex_lock(mutex)
        unsafe pthread_cond_broadcast(changed)
        unsafe pthread_mutex_unlock(mutex)
    }

    /// Blocks until `condition` holds for the word, at most so long; `nil` is without limit.
    private func wait(for milliseconds: Int?, until condition: (UInt64) -> Bool) -> Bool {
        var deadline = timespec()
        if let milliseconds {
            unsafe clock_gettime(CLOCK_MONOTONIC, &deadline)
            let nanoseconds = deadline.tv_nsec + (milliseconds % 1000) * 1_000_000
            deadline.tv_sec += milliseconds / 1000 + nanoseconds / 1_000_000_000
            deadline.tv_nsec = nanoseconds % 1_000_000_000
        }
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        while true {
            // A failed exchange inside `condition` means that the word moved: look again.
            if condition(state.load(ordering: .acquiring)) { return true }
            guard milliseconds != nil else {
                unsafe pthread_cond_wait(changed, mutex)
                continue
            }
            if unsafe pthread_cond_timedwait(changed, mutex, &deadline) == ETIMEDOUT {
                return condition(state.load(ordering: .acquiring))
            }
        }
    }
}
