import Glibc
import Model
import NIOCore
import Platform
import Synchronization
import Testing

@testable import Needles

/// A disk that is full or fails: refused with a reason, nothing acknowledged is lost.
@Suite struct FaultTests {
    private func make() throws -> (FaultyDisk, Bench, Volume) {
        let disk = FaultyDisk()
        let bench = Bench(disk: disk)
        let volume = try bench.create()
        for key in NeedleKey(1)...20 { try volume.put(key, pattern(key, 100)) }
        return (disk, bench, volume)
    }

    private func check(_ volume: Volume) throws {
        for key in NeedleKey(1)...20 { #expect(try volume.get(key) == pattern(key, 100)) }
    }

    private func isFull(_ error: any Error) -> Bool {
        if case .diskFull? = error as? NeedleError { true } else { false }
    }

    @Test(arguments: [0, 1, 17, 64, 100_000])
    func aFullDiskRefusesWritesUntilThereIsRoom(_ partial: Int) throws {
        let (disk, bench, volume) = try make()
        let size = volume.info.size
        disk.partialBytes.withLock { $0 = partial }
        disk.fail(.write, ".dat", code: ENOSPC, forever: true)
        for key in NeedleKey(30)...35 {
            let error = #expect(throws: NeedleError.self) { try volume.put(key, pattern(key, 90)) }
            #expect(error.map(isFull) == true)
        }
        #expect(throws: NeedleError.self) { try volume.drop(5) }
        #expect(!volume.info.isReadOnly && volume.info.size == size)
        #expect(try PosixDisk().open(bench.paths.data, .read).length() == size)
        try check(volume)
        disk.heal()
        try volume.put(30, pattern(30, 90))
        try check(volume)
        #expect(try volume.get(30) == pattern(30, 90))
        volume.abandonWithoutClosing()
        let (again, report) = try bench.open()
        #expect(report.damages.isEmpty)
        try check(again)
        #expect(try again.get(30) == pattern(30, 90) && again.get(31) == nil)
        again.close()
    }

    @Test func aFullDiskUnderASpool() throws {
        let (disk, bench, volume) = try make()
        for call in [DiskCall.reserve, .copy] {
            let spool = try volume.makeSpool()
            try spool.append(ByteBuffer(bytes: pattern(1, 5000)))
            disk.fail(call, ".dat", code: ENOSPC)
            #expect(throws: NeedleError.self) {
                try volume.put(40, NeedleContent(body: .spool(spool)))
            }
            disk.heal()
            try volume.put(40, NeedleContent(body: .spool(spool)))
            #expect(try volume.get(40) == pattern(1, 5000))
        }
        try check(volume)
        volume.close()
        withExtendedLifetime(bench) {}
    }

    @Test func aFailedSyncEndsWritingUntilTheNextOpening() throws {
        let (disk, bench, volume) = try make()
        volume.setReadOnly("an operator says so")
        disk.fail(.sync, ".dat", code: EIO)
        #expect(throws: NeedleError.self) { try volume.drop(1) }
        let reason = try #require(volume.info.readOnlyReason)
        #expect(reason.hasPrefix("fsync failed (sync \(bench.paths.data): Input/output error"))
        // the disk works again, but nobody knows what it lost
        disk.heal()
        #expect(throws: NeedleError.readOnly(1, reason: reason)) { try volume.put(50, [1]) }
        #expect(throws: NeedleError.readOnly(1, reason: reason)) { try volume.drop(2) }
        volume.setReadOnly(nil)
        #expect(throws: NeedleError.readOnly(1, reason: reason)) { try volume.put(50, [1]) }
        #expect(!volume.info.readOnlyCanDelete)
        try check(volume)
        volume.close()
        let (again, _) = try bench.open()
        try again.put(50, [1])
        for key in NeedleKey(2)...20 { #expect(try again.get(key) == pattern(key, 100)) }
        again.close()
    }

    @Test func aFailedWriteEndsWriting() throws {
        let (disk, bench, volume) = try make()
        disk.fail(.write, ".dat", code: EIO)
        #expect(throws: NeedleError.self) { try volume.put(50, [1]) }
        #expect(volume.info.readOnlyReason?.hasPrefix("writing failed (write") == true)
        try check(volume)
        disk.heal()
        volume.close()
        withExtendedLifetime(bench) {}
    }

    @Test func aFaultOfOneVolumeLeavesOthersAlone() throws {
        let disk = FaultyDisk()
        let scratch = Scratch()
        var configuration = StoreConfiguration(
            directories: [.init(path: scratch.path, maxVolumes: 10)])
        configuration.disk = disk
        configuration.commitThreads = 2
        let store = try VolumeStore(configuration, logger: quiet)
        let volumes = try (VolumeID(1)...3).map { id in
            try store.create(
                id, collection: "", replication: .single, ttl: .none, diskType: "")
        }
        let told = Counter()
        store.onChange { _ = told.next() }
        for volume in volumes { try volume.put(1, [1]) }
        disk.fail { call, path in call == .sync && path.hasSuffix("/2.dat") ? EIO : nil }
        #expect(throws: NeedleError.self) { try volumes[1].put(2, [2]) }
        #expect(told.count == 1)
        try volumes[0].put(2, [2])
        try volumes[2].put(2, [2])
        #expect(try volumes[1].get(1) == [1])
        #expect(store.volumes.map(\.info.isReadOnly) == [false, true, false])
        disk.heal()
        store.close()
        #expect(scratch.names.filter { $0.hasSuffix(".dat") } == ["1.dat", "2.dat", "3.dat"])
    }

    @Test func aFailedCheckpointKeepsItsNeedles() throws {
        let (_, bench, volume) = try make()
        // the index takes nothing more
        volume.state.withLock { $0.generation }.index.close()
        #expect(throws: NeedleError.self) { try volume.checkpoint() }
        try check(volume)
        try volume.put(30, [30])
        #expect(throws: NeedleError.self) { try volume.checkpoint() }
        #expect(volume.state.withLock { $0.sealed?.count } == 21)
        // a needle that is not in memory is looked up: the index is built anew
        #expect(try volume.get(999) == nil)
        #expect(throws: NeedleError.notFound(1, 5000)) { try volume.drop(5000) }
        try volume.repairIndex("it was closed")
        try volume.checkpoint()
        #expect(volume.state.withLock { $0.sealed == nil && $0.recent.isEmpty })
        try check(volume)
        volume.close()
        let (again, report) = try bench.open()
        #expect(report.scannedBytes == 0)
        try check(again)
        #expect(try again.get(30) == [30])
        again.close()
    }

    @Test func aFailedSyncOfACheckpointMovesNoWatermark() throws {
        let disk = FaultyDisk()
        let bench = Bench(disk: disk)
        bench.sync = .none
        let volume = try bench.create()
        try volume.put(1, [1])
        let mark = volume.state.withLock { $0.watermark }
        disk.fail(.sync, ".dat", code: EIO)
        #expect(throws: NeedleError.self) { try volume.checkpoint() }
        #expect(volume.state.withLock { $0.watermark } == mark)
        #expect(volume.info.readOnlyReason?.hasPrefix("fsync failed") == true)
        #expect(try volume.get(1) == [1])
        disk.heal()
        volume.close()
    }

    @Test(arguments: [
        (DiskCall.create, ".cpd", ENOSPC), (.reserve, ".cpd", ENOSPC), (.write, ".cpd", ENOSPC),
        (.sync, ".cpd", EIO), (.rename, ".cpd", EIO), (.truncate, ".cpd", EIO),
        (.read, ".dat", EIO),
    ])
    func aFailedCompactionChangesNothing(_ call: DiskCall, _ suffix: String, _ code: CInt) throws {
        let (disk, bench, volume) = try make()
        for key in NeedleKey(100)...140 { try volume.put(key, pattern(key, 100)) }
        for key in NeedleKey(100)...140 { try volume.drop(key) }
        let (size, revision) = (volume.info.size, volume.info.compactRevision)
        for number in 1...3 {
            disk.fail(call, suffix, number: number, code: code)
            do {
                try volume.compact()
                try volume.commitCompaction()
            } catch {
                disk.heal()
                #expect(volume.info.size == size && volume.info.compactRevision == revision)
                #expect(!volume.info.isReadOnly)
                #expect(!bench.scratch.names.contains("1.cpd"))
                #expect(bench.paths.indexGenerations().count == 1)
                try check(volume)
                continue
            }
            // there was no such call: the compaction went through
            disk.heal()
            break
        }
        try check(volume)
        try volume.put(50, [1])
        volume.close()
        let (again, _) = try bench.open()
        try check(again)
        #expect(try again.get(50) == [1])
        again.close()
    }

    @Test func aSwitchThatIsNotDurableTakesNoMoreWrites() throws {
        let (disk, bench, volume) = try make()
        try volume.drop(20)
        try volume.compact()
        disk.fail(.syncDirectory, bench.scratch.path, code: EIO)
        #expect(throws: NeedleError.self) { try volume.commitCompaction() }
        disk.heal()
        #expect(volume.info.isReadOnly)
        #expect(throws: NeedleError.self) { try volume.put(50, [1]) }
        for key in NeedleKey(1)...19 { #expect(try volume.get(key) == pattern(key, 100)) }
        #expect(
            bench.paths.indexGenerations().count == 2, "either file may be there after a power cut")
        volume.close()
        let (again, _) = try bench.open()
        for key in NeedleKey(1)...19 { #expect(try again.get(key) == pattern(key, 100)) }
        try again.put(50, [1])
        again.close()
    }

    @Test func aVolumeThatCannotBeMadeLeavesNothing() throws {
        for (call, suffix) in [(DiskCall.write, ".dat"), (.sync, ".dat"), (.sync, ".vif")] {
            let disk = FaultyDisk()
            let bench = Bench(disk: disk)
            disk.fail(call, suffix, code: ENOSPC)
            #expect(throws: NeedleError.self) { try bench.create() }
            #expect(bench.scratch.names == [])
            disk.heal()
            let volume = try bench.create()
            try volume.put(1, [1])
            volume.close()
        }
        let bench = Bench()
        let first = try bench.create()
        #expect(throws: NeedleError.exists(1)) { try bench.create() }
        #expect(try first.put(1, [1]).isUnchanged == false)
        first.close()
    }

    @Test func aCutThatFailsLeavesTheTail() throws {
        let (disk, bench, volume) = try make()
        volume.close()
        try bench.scratch.edit("1.dat") { $0 += pattern(8, 500) }
        let length = try bench.scratch.bytes("1.dat").count
        let (again, _) = try bench.open()
        disk.fail { call, path in call == .create && path.contains(".torn-") ? ENOSPC : nil }
        #expect(throws: NeedleError.self) { try again.put(50, [1]) }
        #expect(try bench.scratch.bytes("1.dat").count == length)
        disk.heal()
        try again.put(50, [1])
        try check(again)
        again.close()
    }
}
