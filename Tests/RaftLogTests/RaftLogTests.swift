import Foundation
import LMDB
import RaftLog
import Testing

@Suite struct RaftLogTests {
    @Test func `a new log has an identity and nothing else, and keeps it`() throws {
        let directory = try MasterDirectory()
        let (node, name) = try directory.withLog { log throws in
            #expect(log.nodeID != 0)
            #expect(log.clusterID == nil)
            #expect(try log.firstIndex == 1)
            #expect(try log.last == (0, 0))
            #expect(try log.hardState == HardState())
            #expect(try log.state == nil)
            #expect(try log.entries(from: 1) == [])
            return (log.nodeID, log.nodeName)
        }
        let text = String(decoding: try directory.bytes(directory.identity), as: UTF8.self)
        #expect(text.hasPrefix("node \(name)\ncluster none\ncreated 20"))
        try directory.withLog { log throws in #expect(log.nodeID == node) }
        let other = try MasterDirectory()
        try other.withLog { log throws in #expect(log.nodeID != node) }
    }

    @Test func `entries, votes and state survive a reopening`() throws {
        let directory = try MasterDirectory()
        let entries = [entry(1), entry(2), entry(3, term: 4)]
        try directory.withLog { log throws in
            try log.append(entries)
            try log.persist(
                PersistBatch(hardState: HardState(term: 4, vote: 9, commit: 2)))
            try log.saveState(appliedIndex: 2, blob: [1, 2, 3])
        }
        try directory.withLog { log throws in
            #expect(try log.entries(from: 1) == entries)
            #expect(try log.entries(from: 2, maxCount: 1) == [entries[1]])
            #expect(try log.entries(from: 1, maxBytes: 1) == [entries[0]])
            #expect(try log.entries(from: 4) == [])
            #expect(try log.last == (3, 4))
            #expect(try log.term(at: 2) == 1)
            #expect(try log.term(at: 0) == 0)
            #expect(try log.term(at: 4) == nil)
            #expect(try log.hardState == HardState(term: 4, vote: 9, commit: 2))
            #expect(try log.state == AppliedState(appliedIndex: 2, blob: [1, 2, 3]))
        }
    }

    @Test func `a lone master appends, commits and applies at once`() throws {
        let directory = try MasterDirectory()
        try directory.withLog { log throws in
            for number in UInt64(1)...5 {
                let index = try log.appendAndApply(
                    type: 3, payload: [UInt8(number)], state: [0, UInt8(number)])
                #expect(index == number)
            }
        }
        try directory.withLog { log throws in
            #expect(try log.state == AppliedState(appliedIndex: 5, blob: [0, 5]))
            #expect(try log.hardState == HardState(term: 1, vote: log.nodeID, commit: 5))
            #expect(try log.entries(from: 5) == [Entry(index: 5, term: 1, type: 3, payload: [5])])
            try log.persist(PersistBatch(hardState: HardState(term: 2, vote: 99, commit: 5)))
            let error = failure { () throws(RaftLogError) in
                try log.appendAndApply(type: 3, payload: [], state: [])
            }
            #expect(
                error?.description == "\(directory.data): term 2 belongs to node "
                    + "0000000000000063, this node cannot commit alone; nothing was written")
        }
    }

    @Test func `what cannot follow is refused and changes nothing`() throws {
        let directory = try MasterDirectory()
        try directory.withLog { log throws in
            let start = PersistBatch(
                entries: [entry(1), entry(2, term: 2), entry(3, term: 2)],
                hardState: HardState(term: 2, vote: 5, commit: 2),
                state: AppliedState(appliedIndex: 1, blob: [1]))
            try log.persist(start)
            let cases: [(PersistBatch, String)] = [
                (PersistBatch(entries: [entry(5, term: 2)]), "entry 5 does not follow entry 3"),
                (PersistBatch(entries: [entry(3, term: 2)]), "entry 3 does not follow entry 3"),
                (
                    PersistBatch(entries: [entry(4, term: 1)]),
                    "entry 4 has term 1, below term 2 before it"
                ),
                (
                    PersistBatch(truncateFrom: 2),
                    "entry 2 cannot be removed: committed up to 2, applied up to 1, "
                        + "compacted below 1"
                ),
                (PersistBatch(hardState: HardState(term: 1, commit: 2)), "term 1 is below term 2"),
                (
                    PersistBatch(hardState: HardState(term: 2, vote: 6, commit: 2)),
                    "term 2 has a vote for node 0000000000000005, "
                        + "a second one for 0000000000000006 is not allowed"
                ),
                (
                    PersistBatch(hardState: HardState(term: 2, vote: 5, commit: 1)),
                    "commit 1 is not between 2 and the last entry 3"
                ),
                (
                    PersistBatch(hardState: HardState(term: 2, vote: 5, commit: 4)),
                    "commit 4 is not between 2 and the last entry 3"
                ),
                (
                    PersistBatch(state: AppliedState(appliedIndex: 4, blob: [])),
                    "a state of entry 4 is not between 1 and the last entry 3"
                ),
                (
                    // The good half of a batch goes with the bad half.
                    PersistBatch(
                        entries: [entry(4, term: 2)],
                        state: AppliedState(appliedIndex: 0, blob: [])),
                    "a state of entry 0 is not between 1 and the last entry 4"
                ),
            ]
            for (batch, reason) in cases {
                let error = failure { () throws(RaftLogError) in try log.persist(batch) }
                #expect(error?.description == "\(directory.data): \(reason); nothing was written")
                #expect(try log.entries(from: 1) == start.entries)
                #expect(try log.hardState == start.hardState)
                #expect(try log.state == start.state)
            }
        }
    }

    @Test func `limits are named and refused`() throws {
        let directory = try MasterDirectory()
        try directory.withLog { log throws in
            var large = entry(1)
            large.payload = [UInt8](repeating: 0, count: RaftLog.maxPayloadBytes + 1)
            #expect(
                failure { () throws(RaftLogError) in try log.append([large]) }?.description
                    == "\(directory.data): an entry of 1048577 exceeds the limit of 1048576; "
                    + "nothing was written")
            let many = (1...UInt64(RaftLog.maxBatchEntries + 1)).map { entry($0) }
            #expect(failure { () throws(RaftLogError) in try log.append(many) } != nil)
            let blob = [UInt8](repeating: 0, count: RaftLog.maxStateBytes + 1)
            #expect(
                failure { () throws(RaftLogError) in
                    try log.appendAndApply(type: 1, payload: [], state: blob)
                } != nil)
            #expect(try log.last == (0, 0))
            large.payload.removeLast()
            try log.append([large])
            #expect(try log.entries(from: 1) == [large])
        }
    }

    @Test func `an uncommitted tail is replaced by another leader's`() throws {
        let directory = try MasterDirectory()
        try directory.withLog { log throws in
            try log.append([entry(1), entry(2), entry(3), entry(4)])
            let batch = PersistBatch(
                truncateFrom: 3, entries: [entry(3, term: 2, "new")],
                hardState: HardState(term: 2, vote: 0, commit: 3))
            try log.persist(batch)
        }
        try directory.withLog { log throws in
            let expected = [entry(1), entry(2), entry(3, term: 2, "new")]
            #expect(try log.entries(from: 1) == expected)
        }
    }

    @Test func `compaction keeps the tail, the unapplied and the chain`() throws {
        let directory = try MasterDirectory()
        let count: UInt64 = 20_000
        try directory.withLog { log throws in
            for start in stride(from: UInt64(1), through: count, by: 4000) {
                try log.append((start..<start + 4000).map { entry($0) })
            }
            #expect(try log.compact(upTo: count) == 1, "nothing is applied yet")
            try log.saveState(appliedIndex: 100, blob: [1])
            #expect(try log.compact(upTo: 50) == 51)
            #expect(try log.compact(upTo: count) == 101, "entry 101 is not in the state")
            try log.saveState(appliedIndex: count, blob: [2])
            #expect(try log.compact(upTo: count) == count - RaftLog.keptEntries + 1)
        }
        try directory.withLog { log throws in
            let first = count - RaftLog.keptEntries + 1
            #expect(try log.firstIndex == first)
            #expect(try log.term(at: first - 1) == 1)
            #expect(try log.entries(from: first).first == entry(first))
            #expect(
                failure { () throws(RaftLogError) in _ = try log.entries(from: 1) }?.description
                    == "\(directory.data): entry 1 was compacted away, the first is \(first); "
                    + "nothing was written")
            try log.append([entry(count + 1)])
        }
        try directory.withLog { log throws in #expect(try log.last.index == count + 1) }
    }

    @Test func `a cluster is joined once`() throws {
        let directory = try MasterDirectory()
        var generator = SystemRandomNumberGenerator()
        let id = ClusterID(using: &generator)
        #expect(ClusterID(id.description) == id)
        try directory.withLog { log throws in
            try log.setClusterID(id)
            try log.setClusterID(id)
            let other = ClusterID(high: 1, low: 2)
            #expect(
                failure { () throws(RaftLogError) in try log.setClusterID(other) }?.description
                    == "\(directory.data): this node belongs to cluster \(id), not to \(other); "
                    + "nothing was written")
            #expect(log.clusterID == id)
        }
        try directory.withLog { log throws in #expect(log.clusterID == id) }
        let text = String(decoding: try directory.bytes(directory.identity), as: UTF8.self)
        #expect(text.contains("cluster \(id)\n"))
    }

    @Test(
        arguments: [
            "", "x", "01234567-89ab-4def-8123-456789abcde", "0123456789ab4def8123456789abcdef",
            "01234567-89ab-4def-8123-456789abcdeg", "+1234567-89ab-4def-8123-456789abcdef",
            "01234567-89ab-4def-8123-456789abcdef-",
        ]) func `other texts are no cluster id`(text: String)
    {
        #expect(ClusterID(text) == nil)
    }

    @Test func `a closed log refuses`() throws {
        let directory = try MasterDirectory()
        let log = try RaftLog(directory: directory.raft)
        log.close()
        log.close()
        #expect(
            failure { () throws(RaftLogError) in try log.append([entry(1)]) }
                == .database(.closed(path: directory.data)))
    }
}
