import Glibc
import Platform
import Synchronization
import Testing

@Suite struct WorkerPoolTests {
    @Test func runsEverythingInOrderOnOneThread() {
        let pool = WorkerPool(name: "test", count: 1)
        let seen = Mutex<[Int]>([])
        for number in 0..<5000 { pool.submit { seen.withLock { $0.append(number) } } }
        pool.shutdown()
        #expect(seen.withLock { $0 } == Array(0..<5000))
    }

    @Test func nothingIsForgottenAfterTheEnd() {
        let pool = WorkerPool(name: "test", count: 2)
        let count = Atomic<Int>(0)
        for _ in 0..<1000 { pool.submit { count.add(1, ordering: .relaxed) } }
        pool.shutdown()
        pool.shutdown()
        pool.submit { count.add(1, ordering: .relaxed) }
        #expect(count.load(ordering: .relaxed) == 1001)
    }

    @Test func jobsMaySubmitJobs() {
        let pool = WorkerPool(name: "test", count: 2)
        let left = Mutex(100)
        let done = Mutex(false)
        @Sendable func step() {
            let more = left.withLock { left in
                left -= 1
                return left > 0
            }
            if more { pool.submit(step) } else { done.withLock { $0 = true } }
        }
        pool.submit(step)
        var rounds = 0
        while !done.withLock({ $0 }), rounds < 100_000 {
            usleep(100)
            rounds += 1
        }
        pool.shutdown()
        #expect(done.withLock { $0 })
    }

    @Test func withoutThreadsJobsRunAtOnce() {
        let pool = WorkerPool(name: "test", count: 0)
        let thread = pthread_self()
        let here = Mutex(false)
        pool.submit { here.withLock { $0 = pthread_equal(thread, pthread_self()) != 0 } }
        #expect(here.withLock { $0 })
    }
}
