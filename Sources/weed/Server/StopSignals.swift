import Dispatch
import Glibc
import Synchronization

/// SIGTERM and SIGINT: the first one asks for a graceful stop, the second one ends the process at once.
///
/// The signals are blocked in every thread and taken by one that waits for them, so that a second one
/// works even when everything else is stuck.
final class StopSignals: Sendable {
    private struct State {
        var received = 0
        var onFirst: (@Sendable (CInt) -> Void)?
    }
    private let state = Mutex(State())
    private let queue = DispatchQueue(label: "weed.signals")

    /// Blocks the signals; call it before the first thread is made, so that all inherit it.
    init() {
        var signals = StopSignals.set
        unsafe pthread_sigmask(SIG_BLOCK, &signals, nil)
        signal(SIGPIPE, SIG_IGN)
        queue.async { self.wait() }
    }

    /// Says what the first signal does from now on.
    ///
    /// Before, the first one ends the process: nothing is being served yet, and a start that was cut short is
    /// repeated by the next one.
    func onFirst(_ body: @escaping @Sendable (CInt) -> Void) {
        state.withLock { $0.onFirst = body }
    }

    private func wait() {
        var signals = StopSignals.set
        while true {
            var received: CInt = 0
            guard unsafe sigwait(&signals, &received) == 0 else { continue }
            let (count, first) = state.withLock { state in
                state.received += 1
                return (state.received, state.onFirst)
            }
            guard count == 1, let first else {
                let why = count == 1 ? "stopped while starting" : "second signal: ending at once"
                Terminal.error("weed: \(why)")
                _exit(128 + received)
            }
            first(received)
        }
    }

    private static var set: sigset_t {
        var set = sigset_t()
        unsafe sigemptyset(&set)
        unsafe sigaddset(&set, SIGTERM)
        unsafe sigaddset(&set, SIGINT)
        return set
    }
}
