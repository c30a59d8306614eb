import Foundation
import Glibc
import LMDB
import Synchronization
import Testing

@Suite struct CrashTests {
    /// A child commits transactions of 50 records that all carry its number, and is killed at a
    /// random moment.
    ///
    /// What is there afterwards is the last transaction it saw return, or the next.
    @Test(arguments: 0..<6) func `kill in mid-commit leaves N or N + 1`(round: Int) async throws {
        let directory = try TemporaryDirectory()
        let seed = UInt64.random(in: 0 ..< .max)
        let result = await #expect(processExitsWith: .signal(SIGKILL)) {
            [path = directory.path as String, seed = seed as UInt64, round = round as Int] in
            var options = Environment.Options()
            options.mapSize = 64 << 10
            let environment = try Environment(path: path + "/data.mdb", options: options)
            let report = unsafe open(path + "/done", O_WRONLY | O_CREAT, 0o644)
            let started = Atomic<Bool>(false)
            Thread {
                while !started.load(ordering: .acquiring) { sched_yield() }
                usleep(UInt32(1000 + round * 7000) + UInt32(seed % 5000))
                kill(getpid(), SIGKILL)
            }.start()
            for number in UInt64(1)... {
                try environment.write { txn throws(LMDBError) in
                    for key in UInt64(0)..<50 {
                        let salted = key &* 0x9E37_79B9_7F4A_7C15 &+ (number / 8)
                        try txn.put16(number, ~number, for: salted, in: environment.main)
                    }
                    try txn.put16(number, 0, for: 0, in: environment.main)
                }
                var done = number
                guard unsafe pwrite(report, &done, 8, 0) == 8 else { exit(3) }
                started.store(true, ordering: .releasing)
            }
        }
        _ = result
        let done = try bytes(of: directory.file("done"))
        let acknowledged = done.enumerated().reduce(UInt64(0)) { $0 | UInt64($1.1) << ($1.0 * 8) }
        let environment = try Environment(path: directory.file())
        let found = try #require(try environment.value16(for: 0, in: environment.main)).0
        print("seed \(seed): acknowledged \(acknowledged), found \(found)")
        #expect(found == acknowledged || found == acknowledged + 1)
        var whole = 0
        try environment.read { txn throws(LMDBError) in
            for key in UInt64(1)..<50 {
                let salted = key &* 0x9E37_79B9_7F4A_7C15 &+ (found / 8)
                if let words = try txn.value16(for: salted, in: environment.main),
                    words == (found, ~found)
                {
                    whole += 1
                }
            }
        }
        #expect(whole == 49)
        // The lock the dead writer may have held is taken over.
        try environment.write { txn throws(LMDBError) in
            try txn.put16(1, 1, for: 1, in: environment.main)
        }
    }
}
