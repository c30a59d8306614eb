import Glibc
import LMDB
import Testing

@Suite struct DamageTests {
    private let pageSize = 4096

    private func filled(_ path: String, keys: UInt64 = 3000) throws {
        let environment = try Environment(path: path, options: .init(tables: ["t"]))
        let table = try environment.table("t")
        try environment.write { txn throws(LMDBError) in
            for key in 0..<keys { try txn.put16(key, key, for: key, in: table) }
        }
    }

    @Test func `a truncated file is refused with the lengths`() throws {
        let directory = try TemporaryDirectory()
        try filled(directory.file())
        let whole = try bytes(of: directory.file())
        for kept in [whole.count - 1, whole.count - pageSize, 3 * pageSize, 2 * pageSize] {
            try store([UInt8](whole.prefix(kept)), at: directory.file())
            let error = failure { () throws(LMDBError) in
                _ = try Environment(path: directory.file(), options: .init(tables: ["t"]))
            }
            let expected = UInt64(whole.count)
            let cut = LMDBError.truncated(
                path: directory.file(), expected: expected, found: UInt64(kept))
            #expect(error == cut)
            #expect(
                error?.description == "\(directory.file()): the file is truncated: its newest meta "
                    + "page needs \(expected) bytes, found \(kept); restore it or rebuild it, "
                    + "it cannot be opened")
            #expect(try length(of: directory.file()) == kept, "a refused file is left alone")
        }
        try store(whole, at: directory.file())
        _ = try Environment(path: directory.file(), options: .init(tables: ["t"]))
    }

    @Test(arguments: [1, 100, 151, 4096, 4200, 8191]) func `not even two meta pages`(
        kept: Int
    ) throws {
        let directory = try TemporaryDirectory()
        try filled(directory.file(), keys: 1)
        let whole = try bytes(of: directory.file())
        try store([UInt8](whole.prefix(kept)), at: directory.file())
        guard
            case .truncated(_, _, UInt64(kept)) = failure({ () throws(LMDBError) in
                _ = try Environment(path: directory.file())
            })
        else {
            Issue.record("expected truncated at \(kept)")
            return
        }
    }

    @Test func `a file cut where only unused pages lay is whole`() throws {
        let directory = try TemporaryDirectory()
        let expected: Int
        do {
            let environment = try Environment(path: directory.file())
            let table = environment.main
            // Leaves free pages behind, without which LMDB writes pages it gave back.
            for value in UInt64(1)...4 {
                try environment.write { txn throws(LMDBError) in
                    try txn.put16(value, 1, for: 1, in: table)
                }
            }
            try environment.write { txn throws(LMDBError) in
                try txn.put16(1, 1, for: 1, in: table)
                // Taken at the end of the file and given back before the commit: never written.
                try txn.put([UInt8](repeating: 1, count: 1 << 20), for: 2, in: table)
                try txn.delete(2, in: table)
            }
            expected = try environment.statistics().usedBytes
        }
        #expect(try length(of: directory.file()) < expected)
        let environment = try Environment(path: directory.file())
        #expect(try environment.value16(for: 1, in: environment.main)?.0 == 1)
        try environment.write { txn throws(LMDBError) in
            try txn.put([UInt8](repeating: 3, count: 2 << 20), for: 3, in: environment.main)
        }
        try environment.read { txn throws(LMDBError) in
            try txn.withValue(for: 3, in: environment.main) { #expect($0?.byteCount == 2 << 20) }
        }
    }

    @Test func `garbage instead of a meta page is refused`() throws {
        let directory = try TemporaryDirectory()
        try filled(directory.file())
        let whole = try bytes(of: directory.file())
        // Flags, magic, page size of either meta page; the version.
        let cases: [(Int, String)] = [
            (10, "no meta page at 0"), (16, "magic"), (40, "page size"),
            (pageSize + 10, "no meta page at 4096"), (pageSize + 16, "magic"),
            (20, "expected data format 1"),
        ]
        for (offset, word) in cases {
            var damaged = whole
            damaged[offset] = 0xA5
            try store(damaged, at: directory.file())
            let error = failure { () throws(LMDBError) in
                _ = try Environment(path: directory.file())
            }
            #expect(error?.isDamage == true, "offset \(offset)")
            #expect(error?.description.contains(word) == true, "\(String(describing: error))")
        }
        try store(
            [UInt8]("not a database at all".utf8) + [UInt8](repeating: 0, count: 9000),
            at: directory.file())
        let error = failure { () throws(LMDBError) in _ = try Environment(path: directory.file()) }
        #expect(
            error?.description == "\(directory.file()): meta page: MDB_INVALID: no meta page at 0; "
                + "restore or rebuild it")
    }

    @Test func `a directory is refused`() throws {
        let directory = try TemporaryDirectory()
        #expect(
            failure { () throws(LMDBError) in _ = try Environment(path: directory.path) } != nil)
        #expect(
            failure { () throws(LMDBError) in
                _ = try Environment(path: directory.file("missing/data.mdb"))
            } != nil)
    }

    /// Why values carry checksums: LMDB has none, a flipped bit in a value reads as if nothing
    /// were.
    @Test func `a flipped bit in a value is read without an error`() throws {
        let directory = try TemporaryDirectory()
        let marker = [UInt8](repeating: 0xE7, count: 64)
        do {
            let environment = try Environment(path: directory.file())
            try environment.write { txn throws(LMDBError) in
                try txn.put(marker, for: 1, in: environment.main)
            }
        }
        var image = try bytes(of: directory.file())
        let at = try #require(
            (0...image.count - 64).first { image[$0] == 0xE7 && image[$0 + 63] == 0xE7 })
        image[at + 5] ^= 1
        try store(image, at: directory.file())
        let environment = try Environment(path: directory.file())
        let found = try environment.read { txn throws(LMDBError) in
            try txn.value(for: 1, in: environment.main)
        }
        #expect(found != marker)
        #expect(found?.count == 64)
    }
}
