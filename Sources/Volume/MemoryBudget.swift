import NIOCore
import Synchronization

/// Bounds the bytes that uploads hold in memory, all connections together.
///
/// Who asks for more than is left waits in line, at most ``waitersLimit`` at a time and
/// ``patience`` long.
final class MemoryBudget: Sendable {
    /// Bytes that all uploads together may hold.
    static let defaultBytes = 32 << 20
    /// Uploads that may wait for memory; more are refused at once.
    static let waitersLimit = 4096
    /// How long an upload waits for memory.
    static let patience = TimeAmount.seconds(20)

    private struct Waiter {
        let id: UInt64
        let bytes: Int
        let loop: any EventLoop
        let start: @Sendable (Bool) -> Void
    }

    private struct State {
        var used = 0
        var nextID: UInt64 = 0
        var waiters: [Waiter] = []
    }

    private let capacity: Int
    private let state = Mutex(State())

    init(bytes: Int = MemoryBudget.defaultBytes) { capacity = bytes }

    /// Bytes held now.
    var used: Int { state.withLock { $0.used } }

    /// Calls `start(true)` on `loop` once `bytes` are reserved, at once if they are there;
    /// `start(false)` when they do not come.
    ///
    /// More than the whole budget counts as the whole budget.
    func reserve(_ bytes: Int, on loop: any EventLoop, _ start: @escaping @Sendable (Bool) -> Void)
    {
        let wanted = min(bytes, capacity)
        enum Outcome { case granted, refused, waiting(UInt64) }
        let outcome = state.withLock { state -> Outcome in
            if state.waiters.isEmpty, state.used + wanted <= capacity {
                state.used += wanted
                return .granted
            }
            guard state.waiters.count < MemoryBudget.waitersLimit else { return .refused }
            state.nextID += 1
            let id = state.nextID
            state.waiters.append(Waiter(id: id, bytes: wanted, loop: loop, start: start))
            return .waiting(id)
        }
        switch outcome {
        case .granted: start(true)
        case .refused: start(false)
        case .waiting(let id):
            loop.scheduleTask(in: MemoryBudget.patience) { self.giveUp(id) }
        }
    }

    /// Gives back what `reserve` gave for the same `bytes`.
    func release(_ bytes: Int) {
        let ready = state.withLock { state -> [Waiter] in
            state.used -= min(bytes, capacity)
            guard !state.waiters.isEmpty else { return [] }
            var ready: [Waiter] = []
            while ready.count < state.waiters.count {
                let waiter = state.waiters[ready.count]
                guard state.used + waiter.bytes <= capacity else { break }
                state.used += waiter.bytes
                ready.append(waiter)
            }
            state.waiters.removeFirst(ready.count)
            return ready
        }
        for waiter in ready { waiter.loop.execute { waiter.start(true) } }
    }

    private func giveUp(_ id: UInt64) {
        let waiter = state.withLock { state -> Waiter? in
            guard let index = state.waiters.firstIndex(where: { $0.id == id }) else { return nil }
            return state.waiters.remove(at: index)
        }
        waiter?.start(false)
    }
}
