import Model
import NIOCore
import Platform
import Testing

@testable import Needles

/// What goes in comes out, with everything that belongs to it.
@Suite struct WriteReadTests {
    @Test func writesReadsOverwritesDeletesAndRecreates() throws {
        let bench = Bench()
        let volume = try bench.create()
        #expect(try volume.get(1) == nil)
        let receipt = try volume.put(1, pattern(1, 100))
        #expect(!receipt.isUnchanged)
        #expect(receipt.recordSize == 4 + 100 + 1 + 5)
        #expect(try volume.get(1) == pattern(1, 100))
        try volume.put(1, pattern(2, 50))
        #expect(try volume.get(1) == pattern(2, 50))
        #expect(try volume.drop(1) == 4 + 50 + 1 + 5)
        #expect(try volume.get(1) == nil)
        #expect(throws: NeedleError.notFound(1, 1)) { try volume.drop(1) }
        let deleted = try volume.read(1, cookie: 0xc0ffee, includeDeleted: true)
        #expect(try deleted?.allBytes() == pattern(2, 50))
        try volume.put(1, pattern(3, 70))
        #expect(try volume.get(1) == pattern(3, 70))
        let info = volume.info
        #expect(info.fileCount == 3 && info.deleteCount == 2 && info.maxKey == 1)
        volume.close()
    }

    @Test func recordsHaveTheBytesOfTheFormat() throws {
        let bench = Bench(clock: { 0x18ea_d0c1_3934_3fd4 })
        let volume = try bench.create()
        try volume.put(0x10, Array("hello".utf8), cookie: 0xdead_beef) {
            $0.name = "a.bin"
            $0.mime = ""
            $0.lastModified = 0x6b04_cdc1
        }
        volume.close()
        let file = try bench.scratch.bytes("1.dat")
        let expected: [UInt8] = [
            3, 0, 0, 0, 0, 0, 0, 0,
            0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0x16,
            0, 0, 0, 5, 0x68, 0x65, 0x6c, 0x6c, 0x6f,
            0x0e, 5, 0x61, 0x2e, 0x62, 0x69, 0x6e, 0, 0, 0x6b, 0x04, 0xcd, 0xc1,
            0x9a, 0x71, 0xbb, 0x4c, 0x18, 0xea, 0xd0, 0xc1, 0x39, 0x34, 0x3f, 0xd4,
        ]
        #expect(Array(file.prefix(expected.count)) == expected)
        #expect(file.count == 8 + 56)
    }

    @Test func keepsEveryField() throws {
        let bench = Bench()
        let volume = try bench.create()
        let pairs = "{\"Owner\":\"alice\",\"Pad\":\"\(String(repeating: "x", count: 65_000))\"}"
        let ttl = try TimeToLive(parsing: "3d")
        try volume.put(7, pattern(7, 1000)) {
            $0.name = String(repeating: "n", count: 255)
            $0.mime = "text/plain"
            $0.pairs = pairs
            $0.ttl = ttl
            $0.lastModified = 1_234_567_890
            $0.isCompressed = true
            $0.isChunkManifest = true
        }
        let needle = try #require(try volume.read(7, cookie: 0xc0ffee))
        #expect(needle.nameText == String(repeating: "n", count: 255))
        #expect(needle.mimeText == "text/plain")
        #expect(needle.pairsText == pairs)
        #expect(needle.ttl == ttl && needle.lastModified == 1_234_567_890)
        #expect(needle.isCompressed && needle.isChunkManifest)
        #expect(try needle.allBytes() == pattern(7, 1000))
        #expect(needle.checksum == crc(pattern(7, 1000)))
        volume.close()
    }

    @Test func dropsTextsThatAreTooLong() throws {
        let bench = Bench()
        let volume = try bench.create()
        try volume.put(1, [1]) {
            $0.name = String(repeating: "n", count: 256)
            $0.mime = String(repeating: "m", count: 256)
            $0.pairs = String(repeating: "p", count: 65_536)
        }
        let needle = try #require(try volume.read(1, cookie: 0xc0ffee))
        #expect(needle.name == nil && needle.mime == nil && needle.pairs == nil)
        volume.close()
    }

    @Test func everyPaddingLengthReadsBack() throws {
        let bench = Bench()
        let volume = try bench.create()
        for size in 0...40 { try volume.put(UInt64(size + 1), pattern(UInt64(size), size)) }
        for size in 0...40 {
            #expect(try volume.get(UInt64(size + 1)) == pattern(UInt64(size), size))
        }
        #expect(volume.info.size % 8 == 0)
        volume.abandonWithoutClosing()
        let (again, report) = try bench.open()
        #expect(report.damages.isEmpty)
        for size in 0...40 {
            #expect(try again.get(UInt64(size + 1)) == pattern(UInt64(size), size))
        }
        again.close()
    }

    @Test func refusesAnotherCookie() throws {
        let bench = Bench()
        let volume = try bench.create()
        try volume.put(5, [1, 2, 3], cookie: 10)
        #expect(try volume.get(5, cookie: 11) == nil)
        let mismatch = NeedleError.cookieMismatch(1, 5, 11)
        #expect(throws: mismatch) { try volume.put(5, [4], cookie: 11) }
        #expect(throws: mismatch) { try volume.drop(5, cookie: 11) }
        #expect(mismatch.description == "mismatching cookie b")
        try volume.drop(5, cookie: 10)
        // a deleted needle keeps its cookie until compaction
        #expect(throws: mismatch) { try volume.put(5, [4], cookie: 11) }
        #expect(try volume.get(5, cookie: 10) == nil)
        volume.close()
    }

    @Test func emptyFilesAreNoDeletes() throws {
        let bench = Bench()
        let volume = try bench.create()
        try volume.put(1, [])
        try volume.put(2, [9])
        try volume.put(2, [])
        try volume.put(3, [])
        try volume.drop(3)
        #expect(try volume.get(1) == [] && volume.get(2) == [] && volume.get(3) == nil)
        #expect(try volume.get(1, cookie: 1) == nil)
        volume.abandonWithoutClosing()
        let (tail, _) = try bench.open()
        #expect(try tail.get(1) == [] && tail.get(2) == [] && tail.get(3) == nil)
        tail.close()
        bench.removeIndexes()
        let (rebuilt, _) = try bench.open()
        #expect(try rebuilt.get(1) == [] && rebuilt.get(2) == [] && rebuilt.get(3) == nil)
        rebuilt.close()
    }

    @Test func anUnchangedRewriteAppendsNothing() throws {
        let bench = Bench()
        let volume = try bench.create()
        try volume.put(1, pattern(1, 500)) { $0.name = "a" }
        let size = volume.info.size
        let receipt = try volume.put(1, pattern(1, 500)) { $0.name = "a" }
        #expect(receipt.isUnchanged && volume.info.size == size)
        let renamed = try volume.put(1, pattern(1, 500)) { $0.name = "b" }
        #expect(!renamed.isUnchanged)
        #expect(try volume.read(1, cookie: 0xc0ffee)?.nameText == "b")
        volume.close()
    }

    @Test func inAVolumeWithATtlARewriteStartsItAnew() throws {
        let bench = Bench()
        let volume = try bench.create(ttl: try TimeToLive(parsing: "5m"))
        try volume.put(1, [1])
        #expect(try !volume.put(1, [1]).isUnchanged)
        #expect(try volume.read(1, cookie: 0xc0ffee)?.ttl.description == "5m")
        volume.close()
    }

    @Test func expiredNeedlesAreGone() throws {
        let clock = ManualClock()
        let bench = Bench(clock: { clock.now })
        let volume = try bench.create()
        try volume.put(1, [1, 2, 3]) { $0.ttl = TimeToLive(minutes: 1) }
        try volume.put(2, [1, 2, 3])
        #expect(try volume.get(1) == [1, 2, 3])
        clock.advance(seconds: 59)
        #expect(try volume.get(1) == [1, 2, 3])
        clock.advance(seconds: 2)
        #expect(try volume.get(1) == nil)
        #expect(try volume.get(2) == [1, 2, 3])
        #expect(throws: NeedleError.notFound(1, 1)) { try volume.drop(1) }
        volume.close()
    }

    @Test func largeNeedlesComeFromASpool() throws {
        let bench = Bench()
        let volume = try bench.create()
        let bytes = pattern(3, 3_000_001)
        let spool = try volume.makeSpool()
        for start in stride(from: 0, to: bytes.count, by: 700_000) {
            try spool.append(ByteBuffer(bytes: bytes[start..<min(start + 700_000, bytes.count)]))
        }
        #expect(try Array(spool.read(at: 5, upTo: 10).readableBytesView) == Array(bytes[5..<15]))
        var content = NeedleContent(body: .spool(spool))
        content.name = "large"
        try volume.put(1, [1])
        let receipt = try volume.put(2, content)
        #expect(receipt.checksum == crc(bytes))
        try volume.put(3, [3])
        let needle = try #require(try volume.read(2, cookie: 0xc0ffee))
        guard case .file(let file) = needle.body else {
            Issue.record("a large body is read from the file")
            return
        }
        #expect(needle.nameText == "large" && needle.length == 3_000_001)
        #expect(try needle.allBytes() == bytes)
        #expect(try file.read(at: 3_000_000, count: 50).readableBytes == 1)
        #expect(try file.read(at: 3_000_001, count: 50).readableBytes == 0)
        #expect(try volume.get(1) == [1] && volume.get(3) == [3])
        volume.abandonWithoutClosing()
        let (again, _) = try bench.open()
        #expect(try again.get(2) == bytes)
        #expect(bench.scratch.names.allSatisfy { !$0.contains("spool") })
        again.close()
    }

    @Test func cachedReadsNeverWait() throws {
        let bench = Bench()
        let volume = try bench.create()
        try volume.put(1, pattern(1, 2000))
        switch try volume.readCached(1, cookie: 0xc0ffee) {
        case .found(let needle): #expect(try needle.allBytes() == pattern(1, 2000))
        case .wouldBlock: break
        case .notFound: Issue.record("needle 1 is there")
        }
        guard case .notFound = try volume.readCached(2, cookie: 1) else {
            Issue.record("needle 2 is not there")
            return
        }
        volume.close()
        #expect(throws: NeedleError.closed(1)) { try volume.readCached(1, cookie: 0xc0ffee) }
        #expect(throws: NeedleError.closed(1)) { try volume.put(9, [1]) }
    }
}
