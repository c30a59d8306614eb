import NIOCore
import Synchronization

/// Brings answers from worker threads to an event loop, waking it once for many.
///
/// A group commit makes dozens of answers ready at once on a thread of its own. `eventLoop.execute`
/// for each would wake the loop dozens of times; work put in here is collected, and the loop
/// empties the box in one go:
///
/// ```swift
/// for (exchange, result) in batch {
///     exchange.mailbox.enqueue(exchange) { $0.respond(201, body: .empty) }
/// }
/// ```
///
/// There is one box per event loop and server. Work runs on the loop in the order it was put in.
/// The box needs no bound of its own: it holds what exchanges wait for, and their number is bounded
/// by the connections.
public final class ResponseMailbox: Sendable {
    private struct Letter: Sendable {
        let exchange: Exchange
        let work: @Sendable (Exchange) -> Void
    }

    private struct State {
        var letters: [Letter] = []
        /// Whether the loop has been woken for these letters.
        var isCalled = false
    }

    private let loop: any EventLoop
    private let state = Mutex(State())

    init(loop: any EventLoop) { self.loop = loop }

    /// Runs `work` with `exchange` on the event loop soon.
    ///
    /// May be called on any thread.
    public func enqueue(_ exchange: Exchange, _ work: @escaping @Sendable (Exchange) -> Void) {
        let mustCall = state.withLock { state in
            state.letters.append(Letter(exchange: exchange, work: work))
            guard !state.isCalled else { return false }
            state.isCalled = true
            return true
        }
        if mustCall { loop.execute { self.deliver() } }
    }

    private func deliver() {
        let letters = state.withLock { state in
            state.isCalled = false
            let letters = state.letters
            state.letters = []
            return letters
        }
        for letter in letters { letter.work(letter.exchange) }
    }
}
