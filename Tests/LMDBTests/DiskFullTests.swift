import Foundation
import Glibc
import LMDB
import Testing

@Suite struct DiskFullTests {
    @Test(.enabled(if: geteuid() == 0, "mounting a small tmpfs needs root"))
    func `a full disk keeps the last commit and heals when space comes back`() throws {
        let directory = try TemporaryDirectory()
        guard unsafe mount("tmpfs", directory.path, "tmpfs", 0, "size=512k") == 0 else {
            print("skipped: no right to mount a tmpfs here (errno \(errno))")
            return
        }
        defer { unsafe umount2(directory.path, CInt(MNT_DETACH)) }
        let environment = try Environment(path: directory.file())
        let table = environment.main
        try store([UInt8](repeating: 1, count: 100 << 10), at: directory.file("ballast"))
        var kept: UInt64 = 0
        var seen: LMDBError?
        while seen == nil, kept < 100_000 {
            seen = failure { () throws(LMDBError) in
                try environment.write { txn throws(LMDBError) in
                    for key in 1...UInt64(100) {
                        try txn.put16(kept, 0, for: kept + key, in: table)
                    }
                }
            }
            if seen == nil { kept += 100 }
        }
        #expect(
            seen?.description == "\(environment.path): mdb_txn_commit: ENOSPC: "
                + "no space left, nothing was kept; free space and retry")
        #expect(kept > 1000)
        #expect(try environment.statistics(of: table).entries == Int(kept))
        #expect(try environment.value16(for: kept, in: table)?.0 == kept - 100)
        #expect(unsafe unlink(directory.file("ballast")) == 0)
        try environment.write { txn throws(LMDBError) in
            try txn.put16(7, 7, for: kept + 1, in: table)
        }
        environment.close()
        let again = try Environment(path: directory.file())
        #expect(try again.value16(for: kept + 1, in: again.main)?.0 == 7)
        #expect(try again.statistics(of: again.main).entries == Int(kept) + 1)
        again.close()
    }

    /// A size limit stands in for a device that fails: the write of the commit is refused.
    @Test func `after a failed commit nothing more is written, reads go on`() async throws {
        let directory = try TemporaryDirectory()
        await #expect(processExitsWith: .success) { [path = directory.file() as String] in
            let environment = try Environment(path: path)
            let table = environment.main
            try environment.write { txn throws(LMDBError) in
                try txn.put16(1, 1, for: 1, in: table)
            }
            signal(SIGXFSZ, SIG_IGN)
            var limit = rlimit(rlim_cur: 64 << 10, rlim_max: 64 << 10)
            guard unsafe setrlimit(__rlimit_resource_t(UInt32(RLIMIT_FSIZE.rawValue)), &limit) == 0
            else { exit(2) }
            let error = failure { () throws(LMDBError) in
                try environment.write { txn throws(LMDBError) in
                    for key in UInt64(2)..<20_000 { try txn.put16(0, 0, for: key, in: table) }
                }
            }
            guard case .io(let origin, _) = error, origin.call == "mdb_txn_commit" else { exit(3) }
            let again = failure { () throws(LMDBError) in
                try environment.write { txn throws(LMDBError) in
                    try txn.put16(2, 2, for: 2, in: table)
                }
            }
            let reason = error?.description ?? ""
            guard again == .poisoned(path: environment.path, reason: reason) else { exit(4) }
            guard try environment.value16(for: 1, in: table)?.0 == 1,
                try environment.statistics(of: table).entries == 1
            else { exit(5) }
            exit(0)
        }
        let environment = try Environment(path: directory.file())
        #expect(try environment.statistics(of: environment.main).entries == 1)
        try environment.write { txn throws(LMDBError) in
            try txn.put16(2, 2, for: 2, in: environment.main)
        }
    }
}
