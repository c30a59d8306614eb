import Foundation
import Glibc
import LMDB
import Synchronization
import Testing

/// What happened, in order, from several threads.
final class Order: Sendable {
    private let events = Mutex<[String]>([])
    func add(_ event: String) { events.withLock { $0.append(event) } }
    var all: [String] { events.withLock { $0 } }
}

@Suite struct TransactionTests {
    let directory: TemporaryDirectory
    let environment: Environment
    let table: Table

    init() throws {
        directory = try TemporaryDirectory()
        environment = try Environment(path: directory.file(), options: .init(tables: ["t"]))
        table = try environment.table("t")
    }

    @Test func `a closure that throws keeps nothing`() throws {
        let refused = LMDBError.rejected(path: environment.path, reason: "enough")
        let error = failure { () throws(LMDBError) in
            try environment.write { txn throws(LMDBError) in
                try txn.put([1], for: 1, in: table)
                #expect(try txn.reading.value(for: 1, in: table) == [1])
                throw refused
            }
        }
        #expect(error == refused)
        #expect(try environment.statistics(of: table).entries == 0)
        try environment.write { txn throws(LMDBError) in try txn.put([2], for: 2, in: table) }
        #expect(try environment.statistics(of: table).entries == 1)
    }

    @Test func `a reader keeps its snapshot while others commit`() throws {
        try environment.write { txn throws(LMDBError) in try txn.put16(1, 1, for: 1, in: table) }
        try environment.read { txn throws(LMDBError) in
            try environment.write { writing throws(LMDBError) in
                try writing.put16(2, 2, for: 1, in: table)
                try writing.put16(2, 2, for: 2, in: table)
            }
            #expect(try txn.value16(for: 1, in: table)?.0 == 1)
            #expect(try txn.value16(for: 2, in: table) == nil)
            #expect(try environment.value16(for: 1, in: table)?.0 == 2)
        }
        #expect(try environment.value16(for: 2, in: table)?.0 == 2)
    }

    @Test func `keys are ordered as numbers, scans start and stop where told`() throws {
        let keys: [UInt64] = [1 << 56, 3, 255, 256, 70000, .max, 0]
        try environment.write { txn throws(LMDBError) in
            for key in keys { try txn.put16(key, ~key, for: key, in: table) }
        }
        try environment.read { txn throws(LMDBError) in
            var seen: [UInt64] = []
            try txn.forEach(in: table) { key, value in
                seen.append(key)
                #expect(value.byteCount == 16)
                return .next
            }
            #expect(seen == keys.sorted())
            seen = []
            try txn.forEach(in: table, from: 4) { key, _ in
                seen.append(key)
                return seen.count == 3 ? .stop : .next
            }
            #expect(seen == [255, 256, 70000])
            #expect(try txn.lastKey(in: table) == .max)
            #expect(try txn.firstKey(in: table) == 0)
        }
    }

    @Test func `a cursor moves both ways and ends`() throws {
        try environment.write { txn throws(LMDBError) in
            for key in [[2, 2], [2], [9]] as [[UInt8]] { try txn.put(key, for: key, in: table) }
        }
        try environment.read { txn throws(LMDBError) in
            try txn.withCursor(in: table) { cursor throws(LMDBError) in
                #expect(try cursor.first()?.value == [2])
                #expect(try cursor.previous() == nil)
                #expect(
                    unsafe try cursor.seek(atOrAfter: ([2, 1] as [UInt8]).span.bytes)?.value == [
                        2, 2,
                    ])
                #expect(try cursor.next()?.value == [9])
                #expect(try cursor.next() == nil)
                #expect(try cursor.last()?.value == [9])
                #expect(unsafe try cursor.seek(atOrAfter: ([10] as [UInt8]).span.bytes) == nil)
            }
        }
        // One byte is no number.
        guard
            case .badValsize = failure({ () throws(LMDBError) in
                _ = try environment.read { txn throws(LMDBError) in try txn.firstKey(in: table) }
            })
        else {
            Issue.record("expected badValsize")
            return
        }
    }

    @Test func `an empty table has no keys`() throws {
        try environment.read { txn throws(LMDBError) in
            #expect(try txn.lastKey(in: table) == nil)
            #expect(try txn.firstKey(in: table) == nil)
            try txn.forEach(in: table) { _, _ in
                Issue.record("a record in an empty table")
                return .stop
            }
        }
    }

    @Test func `deleting says whether there was something`() throws {
        try environment.write { txn throws(LMDBError) in
            try txn.put([1], for: 1, in: table)
            try txn.put([1], for: [7], in: table)
            #expect(try txn.delete(1, in: table))
            #expect(try !txn.delete(1, in: table))
            #expect(unsafe try txn.delete(([7] as [UInt8]).span.bytes, in: table))
            try txn.put([2], for: 2, in: table)
            try txn.removeAll(in: table)
            #expect(try txn.reading.statistics(of: table).entries == 0)
            try txn.put([3], for: 3, in: table)
        }
        #expect(try environment.statistics(of: table).entries == 1)
    }

    @Test func `appending out of order is refused`() throws {
        let error = failure { () throws(LMDBError) in
            try environment.write { txn throws(LMDBError) in
                try txn.put16(0, 0, for: 5, in: table, append: true)
                try txn.put16(0, 0, for: 4, in: table, append: true)
            }
        }
        guard case .keyExist = error else {
            Issue.record("expected keyExist, got \(String(describing: error))")
            return
        }
        #expect(try environment.statistics(of: table).entries == 0)
    }

    @Test(arguments: [0, 512]) func `keys have 1 to 511 bytes`(size: Int) throws {
        let error = failure { () throws(LMDBError) in
            try environment.write { txn throws(LMDBError) in
                try txn.put([1], for: [UInt8](repeating: 1, count: size), in: table)
            }
        }
        #expect(
            error?.description == "\(environment.path): mdb_put: MDB_BAD_VALSIZE: "
                + "keys have 1 to 511 bytes; check key and value")
    }

    @Test func `a 16-byte look-up refuses other sizes`() throws {
        try environment.write { txn throws(LMDBError) in try txn.put([1, 2], for: 1, in: table) }
        guard
            case .badValsize = failure({ () throws(LMDBError) in
                _ = try environment.value16(for: 1, in: table)
            })
        else {
            Issue.record("expected badValsize")
            return
        }
    }

    @Test func `values of every length come back whole, also across overflow pages`() throws {
        let lengths = [0, 1, 2, 3, 15, 17, 2037, 2038, 4095, 4096, 70001]
        try environment.write { txn throws(LMDBError) in
            for length in lengths {
                let value = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 31) }
                try txn.put(value, for: UInt64(length), in: table)
            }
        }
        try environment.read { txn throws(LMDBError) in
            for length in lengths {
                let value = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 31) }
                #expect(try txn.value(for: UInt64(length), in: table) == value)
            }
        }
    }

    @Test func `write closures of two threads run one after the other`() throws {
        let inside = Atomic<Int>(0)
        let overlaps = Atomic<Int>(0)
        let (environment, table) = (environment, table)
        let failures = Order()
        onThreads(4) { thread in
            for _ in 0..<50 {
                let error = failure { () throws(LMDBError) in
                    try environment.write { txn throws(LMDBError) in
                        let before = inside.add(1, ordering: .sequentiallyConsistent).oldValue
                        if before != 0 { overlaps.add(1, ordering: .relaxed) }
                        let value = try txn.value16(for: 1, in: table)?.0 ?? 0
                        try txn.put16(value + 1, 0, for: 1, in: table)
                        inside.subtract(1, ordering: .sequentiallyConsistent)
                    }
                }
                if let error { failures.add("\(thread): \(error)") }
            }
        }
        #expect(failures.all.isEmpty)
        #expect(overlaps.load(ordering: .relaxed) == 0)
        #expect(try environment.value16(for: 1, in: table)?.0 == 200)
    }

    @Test func `a write inside a write of the same environment traps`() async {
        let file = directory.file("trap")
        await #expect(processExitsWith: .failure) { [file = file as String] in
            let environment = try Environment(path: file)
            // An alarm, so that a deadlock fails the test instead of hanging it.
            signal(SIGALRM) { _ in _exit(0) }
            alarm(20)
            try environment.write { _ throws(LMDBError) in try environment.write { _ in } }
            exit(0)
        }
    }

    @Test func `closing inside a write traps`() async {
        let file = directory.file("trap")
        await #expect(processExitsWith: .failure) { [file = file as String] in
            let environment = try Environment(path: file)
            signal(SIGALRM) { _ in _exit(0) }
            alarm(20)
            try environment.write { _ in environment.close() }
            exit(0)
        }
    }

}
