import Model
import NIOCore
import Platform
import Synchronization
import Testing

@testable import Needles

@Suite struct InspectorTests {
    private func make() throws -> (Bench, Volume) {
        let bench = Bench()
        let volume = try bench.create()
        for key in NeedleKey(1)...100 { try volume.put(key, pattern(key, 50)) }
        for key in NeedleKey(1)...10 { try volume.drop(key) }
        try volume.put(200, [])
        try volume.checkpoint()
        try volume.put(11, pattern(99, 20))
        try volume.drop(12)
        return (bench, volume)
    }

    @Test func looksWhileTheVolumeServes() throws {
        let (bench, volume) = try make()
        // another process opens the index read-only; in this one a file may be open only once
        volume.abandonWithoutClosing()
        let inspector = try IndexInspector(directory: bench.scratch.path, name: bench.name)
        let found = try inspector.statistics()
        #expect(found.entries == 101 && found.deleted == 10 && found.maxKey == 200)
        #expect(found.watermark < found.dataLength && found.revision == 0)
        #expect(found.dataLength == UInt64(try bench.scratch.bytes("1.dat").count))
        let moved = try #require(try inspector.location(of: 11))
        #expect(moved.isAboveWatermark && !moved.isDeleted && moved.cookie == 0xc0ffee)
        #expect(try inspector.location(of: 12)?.isDeleted == true)
        #expect(try inspector.location(of: 50)?.isAboveWatermark == false)
        #expect(try inspector.location(of: 1)?.isDeleted == true)
        #expect(try inspector.location(of: 4711) == nil)
        let verified = try inspector.verify()
        #expect(verified.problems == [] && verified.problemCount == 0)
        #expect(verified.entries == 101 && verified.records == 113)
    }

    @Test func verifyNamesWhatIsWrong() throws {
        let (bench, volume) = try make()
        volume.close()
        let fourth = Int(try records(bench)[3].offset)
        try bench.scratch.edit("1.dat") { bytes in
            bytes[8 + 16 + 6] ^= 1
            bytes[fourth + 11] ^= 1
        }
        let inspector = try IndexInspector(directory: bench.scratch.path, name: bench.name)
        let found = try inspector.verify()
        #expect(found.problemCount >= 2)
        #expect(found.problems.contains { $0.contains("offset 8 of \(bench.paths.data)") })
    }

    @Test func exportsRowsThatTheOriginalAccepts() throws {
        let (bench, volume) = try make()
        volume.close()
        let path = bench.scratch.file("1.idx")
        do {
            let inspector = try IndexInspector(directory: bench.scratch.path, name: bench.name)
            #expect(try inspector.export(to: path) == 113)
        }
        let bytes = try bench.scratch.bytes("1.idx")
        #expect(bytes.count == 113 * 17)
        // the index is thrown away and made again from those rows alone
        let (first, _) = try bench.open()
        let live = try first.liveSet()
        first.close()
        bench.removeIndexes()
        let (second, report) = try bench.open()
        #expect(report.notes == ["index built from 113 rows of .idx"])
        #expect(try second.liveSet() == live)
        #expect(live[200] == [])
        second.close()
    }
}
