import Synchronization

/// A clock that a test moves.
final class ManualClock: Sendable {
    private let nanoseconds = Mutex<UInt64>(1_790_000_000_000_000_000)

    var now: UInt64 { nanoseconds.withLock { $0 } }

    func advance(seconds: UInt64) { nanoseconds.withLock { $0 += seconds * 1_000_000_000 } }
}
