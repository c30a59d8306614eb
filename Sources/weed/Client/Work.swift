import Dispatch
import Synchronization

/// Asynchronous work of a command.
enum Work {
    /// Runs `body` and waits for its end; for the thread a command runs on.
    static func run<Value: Sendable>(
        _ body: @escaping @Sendable () async throws(CommandFailure) -> Value
    ) throws(CommandFailure) -> Value {
        let done = DispatchSemaphore(value: 0)
        let outcome = Mutex<Result<Value, CommandFailure>?>(nil)
        Task {
            let result: Result<Value, CommandFailure>
            do throws(CommandFailure) {
                result = .success(try await body())
            } catch {
                result = .failure(error)
            }
            outcome.withLock { $0 = result }
            done.signal()
        }
        done.wait()
        guard let result = outcome.withLock({ $0 }) else {
            preconditionFailure("the outcome is set before the semaphore is signalled")
        }
        return try result.get()
    }

    /// Works on items several at a time and delivers the results in the order of the items.
    ///
    /// At most `parallel` are under way, and at most four times as many wait to be delivered.
    static func inOrder<Items: Sequence, Result: Sendable>(
        _ items: Items, parallel: Int, work: @escaping @Sendable (Items.Element) async -> Result,
        deliver: (Result) -> Void
    ) async where Items.Element: Sendable {
        let window = parallel * 4
        var rest = items.makeIterator()
        var started = 0
        var delivered = 0
        var running = 0
        var finished: [Int: Result] = [:]
        await withTaskGroup(of: (Int, Result).self) { group in
            func startMore() {
                while running < parallel, started < delivered + window, let item = rest.next() {
                    let number = started
                    group.addTask { (number, await work(item)) }
                    started += 1
                    running += 1
                }
            }
            startMore()
            while let (number, result) = await group.next() {
                running -= 1
                finished[number] = result
                while let next = finished.removeValue(forKey: delivered) {
                    deliver(next)
                    delivered += 1
                }
                startMore()
            }
        }
    }
}
