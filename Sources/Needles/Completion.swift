internal import Glibc
internal import Synchronization

/// A value that one thread waits for and another provides.
final class Completion<Value: Sendable>: Sendable {
    private let value = Mutex(Value?.none)
    private let semaphore = Semaphore()

    /// Provides the value; called once.
    func complete(_ result: Value) {
        value.withLock { $0 = result }
        semaphore.signal()
    }

    /// Waits for the value.
    ///
    /// Blocks.
    func wait() -> Value {
        while true {
            semaphore.wait()
            if let result = value.withLock({ $0 }) { return result }
        }
    }
}

/// A POSIX semaphore.
@safe private final class Semaphore: @unchecked Sendable {
    // `@unchecked`: a POSIX semaphore may be used by any thread; the pointer never changes.
    private let raw: UnsafeMutablePointer<sem_t>

    init() {
        unsafe raw = .allocate(capacity: 1)
        unsafe sem_init(raw, 0, 0)
    }

    deinit {
        unsafe sem_destroy(raw)
        unsafe raw.deallocate()
    }

    func signal() { unsafe sem_post(raw) }

    func wait() {
        while unsafe sem_wait(raw) != 0 {}
    }
}
