import Glibc
import Model
import NIOCore
import Platform
import Synchronization
import Testing

@testable import Needles

/// Compaction keeps what lives, whatever happens meanwhile.
@Suite struct CompactionTests {
    private func compact(_ volume: Volume) throws -> UInt64 {
        try volume.compact()
        return try volume.commitCompaction()
    }

    @Test func keepsTheLiveSetAndDropsTheRest() throws {
        let bench = Bench()
        let volume = try bench.create()
        for key in NeedleKey(1)...300 { try volume.put(key, pattern(key, Int(key))) }
        for key in NeedleKey(1)...300 where key % 3 == 0 { try volume.drop(key) }
        for key in NeedleKey(1)...300 where key % 5 == 0 {
            try volume.put(key, pattern(key * 7, 20))
        }
        try volume.put(400, [])
        try volume.put(401, [])
        try volume.drop(401)
        let live = try volume.liveSet()
        let before = volume.info
        _ = try compact(volume)
        #expect(try volume.liveSet() == live)
        let after = volume.info
        #expect(after.size < before.size && after.compactRevision == 1)
        #expect(after.deleteCount == 0 && after.deletedByteCount == 0)
        #expect(after.fileCount == UInt64(live.count))
        #expect(bench.scratch.names.filter { $0.hasSuffix(".cpd") } == [])
        #expect(bench.paths.indexGenerations().count == 1)
        // a deleted needle is unknown afterwards: another cookie may take its key
        try volume.put(3, [3], cookie: 77)
        #expect(try volume.get(3, cookie: 77) == [3])
        volume.close()
        let (again, report) = try bench.open()
        #expect(report.scannedBytes == 0 && report.notes.isEmpty)
        #expect(try again.get(400) == [] && again.get(401) == nil)
        again.close()
        bench.removeIndexes()
        let (rebuilt, second) = try bench.open()
        #expect(second.damages.isEmpty)
        #expect(try rebuilt.get(400) == [] && rebuilt.get(401) == nil)
        rebuilt.close()
        let ids = try records(bench).map(\.header.id)
        #expect(Array(ids.dropLast()) == ids.dropLast().sorted(), "records are in the order of ids")
    }

    @Test func takesWritesAndDeletesMeanwhile() throws {
        let bench = Bench()
        let volume = try bench.create()
        for key in NeedleKey(1)...100 { try volume.put(key, pattern(key, 200)) }
        try volume.compact()
        for key in NeedleKey(1)...20 { try volume.drop(key) }
        for key in NeedleKey(21)...40 { try volume.put(key, pattern(key + 1, 50)) }
        for key in NeedleKey(41)...45 { try volume.put(key, []) }
        for key in NeedleKey(10)...12 { try volume.put(key, [1]) }
        for key in NeedleKey(101)...120 { try volume.put(key, pattern(key, 10)) }
        try volume.checkpoint()
        for key in NeedleKey(118)...120 { try volume.drop(key) }
        let live = try volume.liveSet()
        try volume.commitCompaction()
        #expect(try volume.liveSet() == live)
        volume.abandonWithoutClosing()
        let (again, _) = try bench.open()
        #expect(try again.liveSet() == live)
        again.close()
        bench.removeIndexes()
        let (rebuilt, report) = try bench.open()
        #expect(report.damages.isEmpty)
        #expect(try rebuilt.liveSet() == live)
        rebuilt.close()
    }

    @Test func aLoadOfWritersNoticesNothing() throws {
        let bench = Bench()
        let volume = try bench.create()
        for key in NeedleKey(1)...2000 { try volume.put(key, pattern(key, 500)) }
        let stop = Mutex(false)
        let versions = Mutex<[NeedleKey: UInt64]>([:])
        let failures = Mutex<[String]>([])
        let writer: @Sendable (UInt64) -> Void = { lane in
            var round: UInt64 = 0
            while !stop.withLock({ $0 }) {
                round += 1
                let key = NeedleKey(lane * 1000 + 1 + round % 900)
                do {
                    if round % 4 == 0 {
                        _ = try? volume.drop(key)
                        versions.withLock { $0[key] = 0 }
                    } else {
                        try volume.put(key, pattern(round, 300))
                        versions.withLock { $0[key] = round }
                    }
                    let expected = versions.withLock { $0[key] } ?? 0
                    let found = try volume.get(key)
                    if found != (expected == 0 ? nil : pattern(expected, 300)) {
                        failures.withLock { $0.append("needle \(key) in round \(round)") }
                    }
                } catch {
                    failures.withLock { $0.append("\(error)") }
                }
            }
        }
        let threads = [TestThread { writer(0) }, TestThread { writer(1) }]
        var longest: UInt64 = 0
        for _ in 0..<5 { longest = max(longest, try compact(volume)) }
        stop.withLock { $0 = true }
        for thread in threads { thread.join() }
        #expect(failures.withLock { $0 } == [])
        print("longest pause of writes at the switch: \(Double(longest) / 1e6) ms")
        #expect(longest < 1_000_000_000)
        let written = versions.withLock { $0 }
        for key in NeedleKey(1)...2000 {
            let version = written[key]
            let expected = version.map { $0 == 0 ? nil : pattern($0, 300) } ?? pattern(key, 500)
            #expect(try volume.get(key) == expected)
        }
        volume.close()
        let (again, _) = try bench.open()
        #expect(again.info.compactRevision == 5)
        again.close()
    }

    @Test func largeNeedlesAreCopied() throws {
        let bench = Bench()
        let volume = try bench.create()
        try volume.put(1, pattern(1, 3 << 20))
        try volume.put(2, pattern(2, 100))
        try volume.put(3, pattern(3, 1 << 20))
        try volume.drop(2)
        _ = try compact(volume)
        #expect(try volume.get(1) == pattern(1, 3 << 20) && volume.get(3) == pattern(3, 1 << 20))
        volume.close()
    }

    @Test func dropsOnlyWhatHasExpired() throws {
        let clock = ManualClock()
        let bench = Bench(clock: { clock.now })
        let volume = try bench.create()
        try volume.put(1, [1]) { $0.ttl = TimeToLive(minutes: 1) }
        try volume.put(2, [2]) { $0.ttl = TimeToLive(minutes: 10) }
        try volume.put(3, [3])
        clock.advance(seconds: 120)
        _ = try compact(volume)
        #expect(try volume.get(2) == [2] && volume.get(3) == [3])
        #expect(volume.info.fileCount == 2)
        volume.close()
    }

    @Test func oneAtATimeAndCanBeDiscarded() throws {
        let bench = Bench()
        let volume = try bench.create()
        try volume.put(1, [1])
        #expect(throws: NeedleError.invalid("volume 1 has no compaction to commit")) {
            try volume.commitCompaction()
        }
        try volume.compact()
        #expect(throws: NeedleError.invalid("volume 1 is being compacted already")) {
            try volume.compact()
        }
        volume.discardCompaction()
        #expect(bench.scratch.names.filter { $0.hasSuffix(".cpd") } == [])
        #expect(bench.paths.indexGenerations().count == 1)
        _ = try compact(volume)
        #expect(try volume.get(1) == [1])
        volume.close()
    }

    @Test func anUncommittedCopyIsDiscardedAtTheNextStart() throws {
        let bench = Bench()
        let volume = try bench.create()
        try volume.put(1, [1])
        try volume.compact()
        try volume.put(2, [2])
        volume.abandonWithoutClosing()
        volume.compaction.withLock { $0 }?.target.index.close()
        #expect(bench.scratch.names.contains("1.cpd"))
        let (again, report) = try bench.open()
        #expect(report.notes.contains("discarded a compaction that had not been committed"))
        #expect(!bench.scratch.names.contains("1.cpd"))
        #expect(try again.get(1) == [1] && again.get(2) == [2])
        again.close()
    }

    @Test func aDamagedIndexEntryIsMendedFirst() throws {
        let bench = Bench()
        let volume = try bench.create()
        for key in NeedleKey(1)...50 { try volume.put(key, pattern(key, 30)) }
        try volume.checkpoint()
        // an entry whose checksum is of another key
        let generation = volume.state.withLock { $0.generation }
        try generation.index.corruptEntry(of: 20)
        _ = try compact(volume)
        for key in NeedleKey(1)...50 { #expect(try volume.get(key) == pattern(key, 30)) }
        volume.close()
    }

    @Test func offlineCompactionLocksAndReports() throws {
        let bench = Bench()
        let volume = try bench.create()
        for key in NeedleKey(1)...50 { try volume.put(key, pattern(key, 100)) }
        for key in NeedleKey(1)...25 { try volume.drop(key) }
        volume.close()
        let before = try bench.scratch.bytes("1.dat").count
        let report = try OfflineCompaction.run(
            directory: bench.scratch.path, name: bench.name, logger: quiet)
        #expect(report.bytesBefore == UInt64(before) && report.revision == 1)
        #expect(report.bytesAfter == UInt64(try bench.scratch.bytes("1.dat").count))
        #expect(report.needlesAfter == 25)
        let (again, _) = try bench.open()
        for key in NeedleKey(26)...50 { #expect(try again.get(key) == pattern(key, 100)) }
        again.close()
        let lock = try OfflineDirectory(bench.scratch.path)
        #expect(throws: NeedleError.inUse(directory: bench.scratch.path, pid: Int(getpid()))) {
            try OfflineCompaction.run(
                directory: bench.scratch.path, name: bench.name, logger: quiet)
        }
        withExtendedLifetime(lock) {}
    }
}
