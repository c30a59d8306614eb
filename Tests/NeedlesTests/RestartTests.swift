import Glibc
import LMDB
import Model
import NIOCore
import Platform
import Synchronization
import Testing

@testable import Needles

/// After a stop of any kind everything answered is there.
@Suite struct RestartTests {
    private func fill(_ volume: Volume, keys: ClosedRange<UInt64>) throws {
        for key in keys { try volume.put(key, pattern(key, Int(key % 300) + 1)) }
    }

    private func check(_ volume: Volume, keys: ClosedRange<UInt64>) throws {
        for key in keys { #expect(try volume.get(key) == pattern(key, Int(key % 300) + 1)) }
    }

    @Test func afterACleanStopNothingIsScanned() throws {
        let bench = Bench()
        let volume = try bench.create()
        try fill(volume, keys: 1...200)
        let before = volume.info
        volume.close()
        let (again, report) = try bench.open()
        #expect(report.scannedBytes == 0 && report.notes.isEmpty && report.damages.isEmpty)
        #expect(again.info == before)
        try check(again, keys: 1...200)
        try fill(again, keys: 201...210)
        again.close()
        let (third, _) = try bench.open()
        try check(third, keys: 1...210)
        third.close()
    }

    @Test func withoutAStopTheTailIsScanned() throws {
        let bench = Bench()
        let volume = try bench.create()
        try fill(volume, keys: 1...50)
        try volume.checkpoint()
        let mark = volume.info.size
        try fill(volume, keys: 51...80)
        try volume.drop(10)
        try volume.drop(60)
        let before = volume.info
        volume.abandonWithoutClosing()
        let (again, report) = try bench.open()
        #expect(report.scannedBytes == before.size - mark)
        #expect(again.info == before)
        try check(again, keys: 1...9)
        try check(again, keys: 11...59)
        try check(again, keys: 61...80)
        #expect(try again.get(10) == nil && again.get(60) == nil)
        again.close()
    }

    @Test func aSecondOpeningChangesNothing() throws {
        let bench = Bench()
        let volume = try bench.create()
        try fill(volume, keys: 1...20)
        volume.abandonWithoutClosing()
        let (first, _) = try bench.open()
        let live = try first.liveSet()
        let info = first.info
        first.close()
        let bytes = try bench.scratch.bytes("1.dat")
        let (second, _) = try bench.open()
        #expect(try second.liveSet() == live)
        #expect(second.info == info)
        second.close()
        #expect(try bench.scratch.bytes("1.dat") == bytes)
    }

    @Test func aLostIndexIsRebuilt() throws {
        let bench = Bench()
        let volume = try bench.create()
        try fill(volume, keys: 1...100)
        for key in stride(from: UInt64(3), through: 99, by: 3) { try volume.drop(key) }
        for key in stride(from: UInt64(6), through: 96, by: 6) { try volume.put(key, [1, 2]) }
        try volume.put(500, [])
        let live = try volume.liveSet()
        let info = volume.info
        volume.close()
        bench.removeIndexes()
        let (again, report) = try bench.open()
        #expect(report.notes == ["index built from the data file"])
        #expect(try again.liveSet() == live)
        #expect(again.info == info)
        again.close()
    }

    @Test(arguments: ["", "garbage", "truncated"])
    func anIndexFileThatIsNoneIsReplaced(_ kind: String) throws {
        let bench = Bench()
        let volume = try bench.create()
        try fill(volume, keys: 1...100)
        volume.close()
        let name = try #require(bench.indexFile)
        try bench.scratch.edit(name) { bytes in
            switch kind {
            case "": bytes = []
            case "garbage": bytes = pattern(77, bytes.count)
            default: bytes.removeLast(bytes.count / 2)
            }
        }
        let (again, report) = try bench.open()
        #expect(!report.notes.isEmpty)
        try check(again, keys: 1...100)
        again.close()
    }

    @Test func aChangedIndexEntryIsFoundAndMended() throws {
        let bench = Bench()
        let volume = try bench.create()
        try fill(volume, keys: 1...100)
        let entry = try #require(
            volume.state.withLock { $0.recent[42] })
        volume.close()
        let words = entry.words(for: 42)
        var value: [UInt8] = []
        for word in [words.0, words.1] {
            for shift in stride(from: 56, through: 0, by: -8) {
                value.append(UInt8(truncatingIfNeeded: word >> UInt64(shift)))
            }
        }
        let name = try #require(bench.indexFile)
        var found = 0
        try bench.scratch.edit(name) { bytes in
            var index = 0
            while index + 16 <= bytes.count {
                if bytes[index] == value[0], bytes[index..<index + 16].elementsEqual(value) {
                    bytes[index + 4] ^= 0x10
                    found += 1
                }
                index += 2
            }
        }
        #expect(found > 0)
        let (again, _) = try bench.open()
        let generation = again.state.withLock { $0.generation.number }
        #expect(try again.get(41) == pattern(41, 42))
        guard case .wouldBlock = try again.readCached(42, cookie: 0xc0ffee) else {
            Issue.record("a wrong checksum in the index must send the reader to a repairing read")
            return
        }
        #expect(try again.get(42) == pattern(42, 43))
        #expect(again.state.withLock { $0.generation.number } == generation + 1)
        #expect(bench.paths.indexGenerations() == [generation + 1])
        try check(again, keys: 1...100)
        try again.put(101, [1])
        again.close()
        let (third, report) = try bench.open()
        #expect(report.scannedBytes == 0)
        try check(third, keys: 1...100)
        third.close()
    }

    @Test func aWrongAppendTimeDoesNotStopTheClock() throws {
        let bench = Bench()
        let volume = try bench.create()
        try volume.put(1, [1, 2, 3])
        volume.close()
        // the time lies behind header, data size, data, flags and last modified, and the checksum
        let place = 8 + 16 + 4 + 3 + 1 + 5 + 4
        try bench.scratch.edit("1.dat") { bytes in
            for index in place..<place + 8 { bytes[index] = 0xff }
        }
        bench.removeIndexes()
        let (again, _) = try bench.open()
        try again.put(2, [4])
        #expect(try again.get(1) == [1, 2, 3] && again.get(2) == [4])
        again.close()
    }

    @Test func aReaderDoesNotBringAClosedVolumesIndexBack() throws {
        let bench = Bench()
        let volume = try bench.create()
        try volume.put(1, [1])
        let generation = volume.state.withLock { $0.generation }
        volume.close()
        try volume.removeFiles()
        #expect(bench.paths.indexGenerations().isEmpty)
        // as a reader does that looked the generation up before the volume was closed
        #expect(throws: NeedleError.closed(1)) { try volume.repairIndex("closed") }
        #expect(bench.paths.indexGenerations().isEmpty)
        _ = generation
    }

    @Test func aKilledProcessLeavesNothingUnsynced() throws {
        let disk = FaultyDisk()
        let bench = Bench(disk: disk)
        bench.sync = .none
        let volume = try bench.create()
        try fill(volume, keys: 1...10)
        volume.abandonWithoutClosing()
        let before = disk.count(.sync, "1.dat")
        let (again, _) = try bench.open()
        // what was read at the start may be in memory only: it is synced before anything is built
        // on it
        #expect(disk.count(.sync, "1.dat") == before + 1)
        try check(again, keys: 1...10)
        again.close()
    }

    @Test func forcedSyncCoversAnUnchangedNeedle() throws {
        let disk = FaultyDisk()
        let bench = Bench(disk: disk)
        bench.sync = .none
        let volume = try bench.create()
        try volume.put(1, [1, 2, 3])
        let before = disk.count(.sync, "1.dat")
        #expect(try volume.put(1, [1, 2, 3], forceSync: true).isUnchanged)
        #expect(disk.count(.sync, "1.dat") == before + 1)
        volume.close()
    }

    @Test func checkpointsSyncBeforeTheyCommit() throws {
        let disk = FaultyDisk()
        let bench = Bench(disk: disk)
        bench.sync = .interval(milliseconds: 1000)
        let volume = try bench.create()
        try volume.put(1, [1, 2, 3])
        // as if another thread had taken the flag and its sync had not returned yet
        volume.state.withLock { $0.isDirty = false }
        let before = disk.count(.sync, "1.dat")
        try volume.checkpoint()
        #expect(disk.count(.sync, "1.dat") == before + 1)
        volume.close()
    }
}
