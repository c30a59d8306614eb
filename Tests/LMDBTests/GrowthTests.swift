import Glibc
@testable import LMDB
import Synchronization
import Testing

@Suite struct GrowthTests {
    private func open(
        _ directory: TemporaryDirectory, mapSize: Int, limit: Int
    ) throws -> Environment {
        var options = Environment.Options()
        options.mapSize = mapSize
        options.maxMapSize = limit
        return try Environment(path: directory.file(), options: options)
    }

    @Test func `a full map grows and the closure runs again from the start`() throws {
        let directory = try TemporaryDirectory()
        let environment = try open(directory, mapSize: 64 << 10, limit: 1 << 30)
        let table = environment.main
        var runs = 0
        try environment.write { txn throws(LMDBError) in
            runs += 1
            for key in UInt64(0)..<20_000 { try txn.put16(key, ~key, for: key, in: table) }
        }
        #expect(runs > 2)
        #expect(try environment.statistics(of: table).entries == 20_000)
        #expect(try environment.statistics().mapSize > 64 << 10)
        for key in [UInt64(0), 9999, 19_999] {
            #expect(try environment.value16(for: key, in: table)?.1 == ~key)
        }
    }

    @Test func `at its limit the map is full and nothing is kept`() throws {
        let directory = try TemporaryDirectory()
        let environment = try open(directory, mapSize: 64 << 10, limit: 128 << 10)
        let table = environment.main
        let error = failure { () throws(LMDBError) in
            try environment.write { txn throws(LMDBError) in
                for key in UInt64(0)..<20_000 { try txn.put16(key, 0, for: key, in: table) }
            }
        }
        #expect(
            error?.description == "\(environment.path): mdb_env_set_mapsize: MDB_MAP_FULL: "
                + "the map cannot grow further; raise maxMapSize")
        #expect(try environment.statistics(of: table).entries == 0)
        try environment.write { txn throws(LMDBError) in try txn.put16(1, 1, for: 1, in: table) }
        #expect(try environment.value16(for: 1, in: table)?.0 == 1)
    }

    @Test func `the map grows under readers on other threads`() throws {
        let directory = try TemporaryDirectory()
        let environment = try open(directory, mapSize: 64 << 10, limit: 1 << 30)
        let table = environment.main
        try environment.write { txn throws(LMDBError) in try txn.put16(0, ~0, for: 0, in: table) }
        let newest = Atomic<UInt64>(0)
        let isDone = Atomic<Bool>(false)
        let faults = Order()
        onThreads(4) { thread in
            if thread == 0 {
                for batch in UInt64(0)..<100 {
                    let keys = (batch * 300 + 1)...(batch * 300 + 300)
                    let error = failure { () throws(LMDBError) in
                        try environment.write { txn throws(LMDBError) in
                            for key in keys { try txn.put16(key, ~key, for: key, in: table) }
                        }
                    }
                    if let error { faults.add("\(error)") }
                    newest.store(keys.upperBound, ordering: .releasing)
                }
                isDone.store(true, ordering: .releasing)
                return
            }
            var key: UInt64 = 0
            while !isDone.load(ordering: .acquiring) {
                let bound = newest.load(ordering: .acquiring) + 1
                key = (key &* 6_364_136_223_846_793_005 &+ UInt64(thread)) % bound
                let error = failure { () throws(LMDBError) in
                    let found = try environment.value16(for: key, in: table)
                    if found?.1 != ~key { faults.add("\(key) reads \(String(describing: found))") }
                    // Nested, and longer: growth must neither pull the map away nor wait for ever.
                    try environment.read { txn throws(LMDBError) in
                        _ = try environment.value16(for: key, in: table)
                        let again = try txn.value16(for: key, in: table)
                        if again?.1 != ~key { faults.add("\(key) in a snapshot") }
                    }
                }
                if let error { faults.add("\(error)") }
            }
        }
        #expect(faults.all.prefix(3) == [])
        #expect(try environment.statistics().mapSize >= 1 << 20)
        #expect(try environment.statistics(of: table).entries == 30_001)
    }

    @Test func `growth waits for a reader under way`() throws {
        let directory = try TemporaryDirectory()
        let environment = try open(directory, mapSize: 64 << 10, limit: 1 << 30)
        let table = environment.main
        try environment.write { txn throws(LMDBError) in try txn.put16(1, 2, for: 1, in: table) }
        let inside = Latch()
        let full = Latch()
        let order = Order()
        onThreads(2) { thread in
            if thread == 0 {
                try? environment.read { txn throws(LMDBError) in
                    inside.open()
                    _ = full.wait()
                    // The writer is at the gate by now or soon; the snapshot stays mapped.
                    order.add("read \(try txn.value16(for: 1, in: table)?.1 ?? 0)")
                }
            } else {
                _ = inside.wait()
                var runs = 0
                try? environment.write { txn throws(LMDBError) in
                    runs += 1
                    if runs == 2 { order.add("grown") }
                    if runs == 1 { full.open() }
                    for key in UInt64(2)..<5000 { try txn.put16(0, 0, for: key, in: table) }
                }
            }
        }
        #expect(order.all == ["read 2", "grown"])
    }

    @Test func `after a failed growth the environment refuses everything`() throws {
        let directory = try TemporaryDirectory()
        let environment = try open(directory, mapSize: 64 << 10, limit: 1 << 62)
        try environment.write { txn throws(LMDBError) in
            try txn.put16(1, 1, for: 1, in: environment.main)
        }
        // More than the address space holds.
        let first = failure { () throws(LMDBError) in try environment.setMapSize(1 << 61) }
        #expect(first?.description.contains("errno 12: Cannot allocate memory") == true)
        let reason = "the map could not be moved when it grew"
        let poisoned = LMDBError.poisoned(path: environment.path, reason: reason)
        #expect(failure { () throws(LMDBError) in try environment.read { _ in } } == poisoned)
        #expect(failure { () throws(LMDBError) in try environment.write { _ in } } == poisoned)
        #expect(
            failure { () throws(LMDBError) in
                _ = try environment.value16(for: 1, in: environment.main)
            } == poisoned)
        environment.close()
        let again = try open(directory, mapSize: 64 << 10, limit: 1 << 20)
        #expect(try again.value16(for: 1, in: again.main)?.0 == 1)
    }

    @Test func `a reader follows the map another process made larger`() async throws {
        let directory = try TemporaryDirectory()
        try open(directory, mapSize: 64 << 10, limit: 1 << 30).close()
        var options = Environment.Options()
        options.mapSize = 64 << 10
        options.readOnly = true
        let reader = try Environment(path: directory.file(), options: options)
        #expect(try reader.value16(for: 1, in: reader.main) == nil)
        await #expect(processExitsWith: .success) { [path = directory.file() as String] in
            let environment = try Environment(path: path)
            try environment.write { txn throws(LMDBError) in
                for key in UInt64(0)..<50_000 {
                    try txn.put16(key, ~key, for: key, in: environment.main)
                }
            }
            environment.close()
            exit(0)
        }
        for key in [UInt64(1), 25_000, 49_999] {
            #expect(try reader.value16(for: key, in: reader.main)?.1 == ~key)
        }
        #expect(try reader.statistics().mapSize >= 1 << 20)
    }
}
