import Foundation
import Glibc
import RaftLog
import Synchronization
import Testing

@Suite struct CrashTests {
    /// A child appends and applies until it is killed at a random moment.
    ///
    /// Nothing it was told is durable may be gone, and what is there is whole.
    @Test(arguments: 0..<5) func `kill -9 loses nothing acknowledged`(round: Int) async throws {
        let directory = try MasterDirectory()
        let seed = UInt64.random(in: 0 ... .max)
        print("seed \(seed)")
        await #expect(processExitsWith: .signal(SIGKILL)) {
            [path = directory.path as String, seed = seed as UInt64, round = round as Int] in
            let log = try RaftLog(directory: path + "/raft")
            let report = unsafe open(path + "/done", O_WRONLY | O_CREAT, 0o644)
            let isStarted = Atomic<Bool>(false)
            Thread {
                while !isStarted.load(ordering: .acquiring) { sched_yield() }
                usleep(UInt32(1000 + round * 9000) + UInt32(seed % 9000))
                kill(getpid(), SIGKILL)
            }.start()
            for number in UInt64(1)... {
                let text = Array("state \(number)".utf8)
                let index = try log.appendAndApply(type: 1, payload: text, state: text)
                guard index == number else { exit(4) }
                var done = number
                guard unsafe pwrite(report, &done, 8, 0) == 8 else { exit(3) }
                isStarted.store(true, ordering: .releasing)
            }
        }
        let done = try directory.bytes(directory.path + "/done")
        let acknowledged = done.enumerated().reduce(UInt64(0)) { $0 | UInt64($1.1) << ($1.0 * 8) }
        try directory.withLog { log throws in
            let last = try log.last.index
            #expect(last == acknowledged || last == acknowledged + 1)
            let state = try #require(try log.state)
            #expect(state.appliedIndex == last)
            #expect(state.blob == Array("state \(last)".utf8))
            #expect(try log.hardState.commit == last)
            var index: UInt64 = 1
            while index <= last {
                for entry in try log.entries(from: index) {
                    #expect(entry.index == index)
                    #expect(entry.payload == Array("state \(index)".utf8))
                    index += 1
                }
            }
            try log.appendAndApply(type: 1, payload: [], state: [])
        }
    }

    /// Killed while the directory is being made: the next start either begins or goes on.
    @Test(arguments: 0..<8) func `a birth cut short is repeated`(round: Int) async throws {
        let directory = try MasterDirectory()
        await #expect(processExitsWith: .signal(SIGKILL)) {
            [path = directory.path as String, round = round as Int] in
            Thread {
                usleep(UInt32(round) * 400)
                kill(getpid(), SIGKILL)
            }.start()
            let log = try RaftLog(directory: path + "/raft")
            while true { _ = log.nodeID }
        }
        let node = try directory.withLog { $0.nodeID }
        try directory.withLog { log throws in #expect(log.nodeID == node) }
    }
}
