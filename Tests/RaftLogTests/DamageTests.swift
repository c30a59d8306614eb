import Foundation
import LMDB
import RaftLog
import Testing

@Suite struct DamageTests {
    private func filled() throws -> MasterDirectory {
        let directory = try MasterDirectory()
        try directory.withLog { log throws in
            for index in UInt64(1)...20 {
                try log.appendAndApply(
                    type: 1, payload: [UInt8](repeating: UInt8(index), count: 60),
                    state: [UInt8](repeating: 0xBB, count: 40))
                #expect(try log.last.index == index)
            }
        }
        return directory
    }

    @Test func `a flipped bit in any byte of a stored entry is found and nothing is cut`() throws {
        let directory = try filled()
        let image = try directory.bytes(directory.data)
        let payload = [UInt8](repeating: 13, count: 60)
        // Copy-on-write leaves old images of a leaf behind: flip in every one.
        let places = (18..<image.count - 60).filter {
            image[$0] == 13 && image[$0 - 1] != 13 && Array(image[$0..<$0 + 60]) == payload
        }
        #expect(!places.isEmpty)
        for offset in -18..<60 {
            var damaged = image
            for place in places { damaged[place + offset] ^= 1 << UInt8(abs(offset) % 8) }
            try directory.store(damaged, at: directory.data)
            let error = openingFailure(directory)
            guard case .damaged(directory.data, "log entry 13", _, _) = error else {
                Issue.record("offset \(offset): \(String(describing: error))")
                continue
            }
            #expect(try directory.bytes(directory.data) == damaged, "a refused log is left alone")
        }
        try directory.store(image, at: directory.data)
        try directory.withLog { log throws in #expect(try log.last.index == 20) }
    }

    @Test func `the error says what was expected and what was found`() throws {
        let directory = try filled()
        try directory.tamper { (txn, table) throws(LMDBError) in
            guard let log = table("log"), var value = try txn.reading.value(for: 13, in: log) else {
                return
            }
            value[30] ^= 0x40
            unsafe try txn.put(value.span.bytes, for: 13, in: log)
        }
        let text = try #require(openingFailure(directory)?.description)
        #expect(text.hasPrefix("\(directory.data): log entry 13: expected checksum "))
        #expect(
            text.hasSuffix(
                " computed; nothing was changed. A bad record is never cut off, it may have been "
                    + "acknowledged: keep the directory, then rejoin with a new id or restore a "
                    + "copy of a lone master"))
    }

    @Test func `a missing, moved or foreign entry breaks the chain`() throws {
        var directory = try filled()
        try directory.tamper { (txn, table) throws(LMDBError) in
            guard let log = table("log") else { return }
            try txn.delete(13, in: log)
        }
        #expect(record(openingFailure(directory)) == "log: entry 13/entry 14")

        directory = try filled()
        try directory.tamper { (txn, table) throws(LMDBError) in
            guard let log = table("log"), let value = try txn.reading.value(for: 12, in: log)
            else { return }
            unsafe try txn.put(value.span.bytes, for: 13, in: log)
        }
        #expect(record(openingFailure(directory))?.hasPrefix("log entry 13: checksum") == true)

        // A whole entry of another log at the same index: only the chain tells.
        directory = try filled()
        let other = try MasterDirectory()
        try other.withLog { log throws in
            try log.append((1...20).map { entry($0, "other") })
        }
        var foreign: [UInt8] = []
        try other.tamper { (txn, table) throws(LMDBError) in
            guard let log = table("log") else { return }
            foreign = try txn.reading.value(for: 13, in: log) ?? []
        }
        #expect(!foreign.isEmpty)
        try directory.tamper { (txn, table) throws(LMDBError) in
            guard let log = table("log") else { return }
            unsafe try txn.put(foreign.span.bytes, for: 13, in: log)
        }
        #expect(record(openingFailure(directory))?.hasPrefix("log entry 13: to follow") == true)
    }

    @Test(arguments: ["node_id", "hard_state", "first_index", "version"])
    func `a flipped bit in a meta record is found`(name: String) throws {
        let directory = try filled()
        let key = Array(name.utf8)
        try directory.tamper { (txn, table) throws(LMDBError) in
            guard let meta = table("meta"),
                var value = unsafe try txn.reading.value(for: key.span.bytes, in: meta)
            else { return }
            value[value.count - 1] ^= 0x10
            unsafe try txn.put(value.span.bytes, for: key.span.bytes, in: meta)
        }
        #expect(
            record(openingFailure(directory))?.hasPrefix("meta record \(name): checksum") == true)
    }

    @Test func `a flipped bit in the state is found`() throws {
        let directory = try filled()
        let key = Array("state".utf8)
        try directory.tamper { (txn, table) throws(LMDBError) in
            guard let states = table("sm"),
                var value = unsafe try txn.reading.value(for: key.span.bytes, in: states)
            else { return }
            value[20] ^= 1
            unsafe try txn.put(value.span.bytes, for: key.span.bytes, in: states)
        }
        #expect(record(openingFailure(directory))?.hasPrefix("state: checksum") == true)
    }

    @Test func `a state ahead of a log that lost its end is found`() throws {
        let directory = try filled()
        try directory.tamper { (txn, table) throws(LMDBError) in
            guard let log = table("log") else { return }
            try txn.delete(20, in: log)
        }
        #expect(record(openingFailure(directory)) == "hard_state: commit up to 19/20")
    }

    private func record(_ error: RaftLogError?) -> String? {
        guard case .damaged(_, let record, let expected, let found) = error else { return nil }
        return "\(record): \(expected)/\(found)"
    }
}
