internal import CPosix
import Glibc
import Synchronization

/// A few threads that run jobs in the order they came.
///
/// For work that blocks.
///
/// The caller bounds the number of jobs: the engine queues at most one per volume.
public final class WorkerPool: Sendable {
    private let shared: SharedQueue
    private let threads: Mutex<[pthread_t]>
    private let isInline: Bool

    /// Starts `count` threads named `name`.
    ///
    /// With none, jobs run at once on the caller's thread: a simulation is repeatable that way.
    public init(name: String, count: Int) {
        isInline = count == 0
        shared = SharedQueue()
        var started: [pthread_t] = []
        for index in 0..<count {
            started.append(WorkerPool.start(shared, name: "\(name)-\(index)"))
        }
        threads = Mutex(started)
    }

    /// Queues a job.
    ///
    /// After ``shutdown()`` it runs on the caller's thread, so that nothing is forgotten.
    public func submit(_ job: @escaping @Sendable () -> Void) {
        if isInline || !shared.push(job) { job() }
    }

    /// Runs what is queued, then ends the threads.
    ///
    /// Blocks until they are gone.
    public func shutdown() {
        shared.stop()
        let ending = threads.withLock { threads in
            defer { threads = [] }
            return threads
        }
        for thread in ending { pthread_join(thread, nil) }
    }

    deinit { shared.stop() }

    private static func start(_ shared: SharedQueue, name: String) -> pthread_t {
        final class Start {
            let shared: SharedQueue
            let name: String
            init(_ shared: SharedQueue, _ name: String) {
                self.shared = shared
                self.name = name
            }
        }
        let argument = unsafe Unmanaged.passRetained(Start(shared, name)).toOpaque()
        var thread = pthread_t()
        let result = unsafe pthread_create(
            &thread, nil,
            { raw in
                guard let raw = unsafe raw else { return nil }
                let start = unsafe Unmanaged<Start>.fromOpaque(raw).takeRetainedValue()
                unsafe weed_name_thread(start.name)
                while let job = start.shared.pop() { job() }
                return nil
            }, argument)
        precondition(result == 0, "no thread could be started: errno \(result)")
        return thread
    }
}

/// The queue of a pool: a list under a POSIX mutex, with a condition to wait on.
@safe private final class SharedQueue: @unchecked Sendable {
    // `@unchecked`: every stored property below is touched only with `mutex` held.
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>
    private var jobs: [@Sendable () -> Void] = []
    private var next = 0
    private var stopped = false

    init() {
        unsafe mutex = .allocate(capacity: 1)
        unsafe condition = .allocate(capacity: 1)
        unsafe pthread_mutex_init(mutex, nil)
        unsafe pthread_cond_init(condition, nil)
    }

    deinit {
        unsafe pthread_cond_destroy(condition)
        unsafe pthread_mutex_destroy(mutex)
        unsafe condition.deallocate()
        unsafe mutex.deallocate()
    }

    func push(_ job: @escaping @Sendable () -> Void) -> Bool {
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        guard !stopped else { return false }
        jobs.append(job)
        unsafe pthread_cond_signal(condition)
        return true
    }

    func pop() -> (@Sendable () -> Void)? {
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        while next == jobs.count {
            if stopped { return nil }
            jobs.removeAll(keepingCapacity: true)
            next = 0
            unsafe pthread_cond_wait(condition, mutex)
        }
        let job = jobs[next]
        next += 1
        // a queue that never runs empty must not keep what it has done
        if next > 1024, next * 2 > jobs.count {
            jobs.removeFirst(next)
            next = 0
        }
        return job
    }

    func stop() {
        unsafe pthread_mutex_lock(mutex)
        stopped = true
        unsafe pthread_cond_broadcast(condition)
        unsafe pthread_mutex_unlock(mutex)
    }
}
