import Foundation
import Glibc
import LMDB
import Testing

@Suite struct EnvironmentTests {
    @Test func `what was written is there after closing and opening again`() throws {
        let directory = try TemporaryDirectory()
        let options = Environment.Options(tables: ["a", "b"])
        do {
            let environment = try Environment(path: directory.file(), options: options)
            let (a, b) = (try environment.table("a"), try environment.table("b"))
            try environment.write { txn throws(LMDBError) in
                try txn.put([1, 2, 3], for: 7, in: a)
                try txn.put([4], for: 7, in: b)
            }
            environment.close()
        }
        let environment = try Environment(path: directory.file(), options: options)
        let a = try environment.table("a")
        let b = try environment.table("b")
        try environment.read { txn throws(LMDBError) in
            #expect(try txn.value(for: 7, in: a) == [1, 2, 3])
            #expect(try txn.value(for: 7, in: b) == [4])
            #expect(try txn.value(for: 8, in: a) == nil)
        }
    }

    @Test func `an environment without named tables has one main table`() throws {
        let directory = try TemporaryDirectory()
        let environment = try Environment(path: directory.file())
        try environment.write { txn throws(LMDBError) in
            try txn.put16(5, 6, for: 1, in: environment.main)
            try txn.put16(7, 8, for: 256, in: environment.main)
        }
        let found = try #require(try environment.value16(for: 256, in: environment.main))
        #expect(found == (7, 8))
        #expect(try environment.statistics(of: environment.main).entries == 2)
    }

    @Test func `a second opening in the process is refused, also by another name`() throws {
        let directory = try TemporaryDirectory()
        let environment = try Environment(path: directory.file())
        unsafe symlink(environment.path, directory.file("link"))
        for name in [directory.file(), directory.file("link"), directory.path + "/./data.mdb"] {
            let error = failure { () throws(LMDBError) in _ = try Environment(path: name) }
            #expect(error == .alreadyOpen(path: environment.path))
        }
        environment.close()
        _ = try Environment(path: directory.file("link"))
    }

    @Test func `an opening that failed leaves the path free`() throws {
        let directory = try TemporaryDirectory()
        try store([UInt8](repeating: 7, count: 9000), at: directory.file())
        for _ in 0..<2 {
            let error = failure { () throws(LMDBError) in
                _ = try Environment(path: directory.file())
            }
            #expect(error?.isDamage == true)
        }
    }

    @Test func `closed means closed`() throws {
        let directory = try TemporaryDirectory()
        let environment = try Environment(path: directory.file())
        environment.close()
        environment.close()
        let closed = LMDBError.closed(path: environment.path)
        #expect(failure { () throws(LMDBError) in try environment.read { _ in } } == closed)
        #expect(failure { () throws(LMDBError) in try environment.write { _ in } } == closed)
        #expect(
            failure { () throws(LMDBError) in
                _ = try environment.value16(for: 1, in: environment.main)
            } == closed)
        #expect(
            closed.description
                == "\(environment.path): the environment was closed; open it again")
    }

    @Test func `closing waits for a transaction under way`() throws {
        let directory = try TemporaryDirectory()
        let environment = try Environment(path: directory.file())
        let inside = Latch()
        let proceed = Latch()
        let order = Order()
        onThreads(2) { index in
            if index == 0 {
                try? environment.read { _ in
                    inside.open()
                    _ = proceed.wait()
                    order.add("read")
                }
            } else {
                _ = inside.wait()
                proceed.open()
                environment.close()
                order.add("closed")
            }
        }
        #expect(order.all == ["read", "closed"])
    }

    @Test func `a missing or empty file is made only if that is allowed`() throws {
        let directory = try TemporaryDirectory()
        var options = Environment.Options()
        options.createIfMissing = false
        func open() -> LMDBError? {
            failure { () throws(LMDBError) in
                _ = try Environment(path: directory.file(), options: options)
            }
        }
        guard case .io(_, ENOENT) = open() else {
            Issue.record("expected ENOENT")
            return
        }
        try store([], at: directory.file())
        #expect(open() != nil)
        options.createIfMissing = true
        #expect(open() == nil)
    }

    @Test func `a read-only environment reads and refuses to write`() throws {
        let directory = try TemporaryDirectory()
        do {
            let environment = try Environment(path: directory.file(), options: .init(tables: ["t"]))
            let table = try environment.table("t")
            try environment.write { txn throws(LMDBError) in try txn.put([9], for: 1, in: table) }
        }
        var options = Environment.Options(tables: ["t"])
        options.readOnly = true
        do {
            let environment = try Environment(path: directory.file(), options: options)
            let table = try environment.table("t")
            let value = try environment.read { txn throws(LMDBError) in
                try txn.value(for: 1, in: table)
            }
            #expect(value == [9])
            let error = failure { () throws(LMDBError) in try environment.write { _ in } }
            #expect(
                error?.description == "\(environment.path): mdb_txn_begin: errno 13: "
                    + "Permission denied")
        }
        options.tables = ["other"]
        let error = failure { () throws(LMDBError) in
            _ = try Environment(path: directory.file(), options: options)
        }
        guard case .notFound = error else {
            Issue.record("expected notFound, got \(String(describing: error))")
            return
        }
    }

    @Test func `a table of another environment is refused`() throws {
        let directory = try TemporaryDirectory()
        let one = try Environment(path: directory.file("one"))
        let two = try Environment(path: directory.file("two"))
        let error = failure { () throws(LMDBError) in _ = try one.value16(for: 1, in: two.main) }
        #expect(
            error?.description
                == "\(one.path): table: MDB_BAD_DBI: the table is not of this environment")
        guard case .notFound = failure({ () throws(LMDBError) in _ = try one.table("x") }) else {
            Issue.record("expected notFound")
            return
        }
    }

    @Test func `no descriptor survives exec`() throws {
        let directory = try TemporaryDirectory()
        let environment = try Environment(path: directory.file())
        var seen = 0
        for name in try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd") {
            guard let descriptor = CInt(name),
                let target = try? FileManager.default.destinationOfSymbolicLink(
                    atPath: "/proc/self/fd/\(name)"), target.hasPrefix(environment.path)
            else { continue }
            seen += 1
            #expect(fcntl(descriptor, F_GETFD) & FD_CLOEXEC != 0, "\(target)")
        }
        #expect(seen >= 2)
    }

    @Test func `a copy holds the same records and is not made over a file`() throws {
        let directory = try TemporaryDirectory()
        let environment = try Environment(path: directory.file())
        try environment.write { txn throws(LMDBError) in
            for key in UInt64(0)..<5000 { try txn.put16(key, key, for: key, in: environment.main) }
        }
        try environment.write { txn throws(LMDBError) in
            for key in UInt64(0)..<4000 { try txn.delete(key, in: environment.main) }
        }
        try environment.copy(to: directory.file("compact"))
        try environment.copy(to: directory.file("full"), compacting: false)
        #expect(
            try length(of: directory.file("compact")) < length(of: directory.file("full")) / 2)
        for name in ["compact", "full"] {
            let copy = try Environment(path: directory.file(name))
            #expect(try copy.statistics(of: copy.main).entries == 1000)
            let found = try copy.value16(for: 4999, in: copy.main)
            #expect(found?.1 == 4999)
        }
        let error = failure { () throws(LMDBError) in
            try environment.copy(to: directory.file("full"))
        }
        #expect(
            error?.description == "\(directory.file("full")): open: errno 17: File exists")
    }

    @Test func `statistics count records, pages and readers`() throws {
        let directory = try TemporaryDirectory()
        var options = Environment.Options()
        options.mapSize = 8 << 20
        options.maxReaders = 3
        let environment = try Environment(path: directory.file(), options: options)
        try environment.write { txn throws(LMDBError) in
            for key in UInt64(0)..<1000 { try txn.put16(key, 0, for: key, in: environment.main) }
        }
        let table = try environment.statistics(of: environment.main)
        #expect(table.entries == 1000)
        #expect(table.depth == 2)
        #expect(table.leafPages > 4)
        let all = try environment.statistics()
        #expect(all.mapSize == 8 << 20)
        #expect(all.maxReaders == 3)
        #expect(all.usedBytes >= (table.leafPages + 1) * all.pageSize)
        #expect(all.usedBytes <= (try length(of: directory.file())))
    }

    @Test func `one reader too many is refused and the others go on`() throws {
        let directory = try TemporaryDirectory()
        var options = Environment.Options()
        options.maxReaders = 2
        let environment = try Environment(path: directory.file(), options: options)
        try environment.read { _ throws(LMDBError) in
            try environment.read { _ throws(LMDBError) in
                let error = failure { () throws(LMDBError) in try environment.read { _ in } }
                guard case .readersFull = error else {
                    Issue.record("expected readersFull, got \(String(describing: error))")
                    return
                }
            }
        }
        try environment.read { _ in }
    }
}
