import Model
import NIOCore
import Platform
import Synchronization
import Testing

@testable import Needles

/// Damage in the middle of a data file: reported with its place, never served, and the needles
/// behind it are found.
@Suite struct DamageTests {
    /// Where a field of a record with data, name, mime and pairs lies, from its begin.
    private static let fields: [(name: String, place: Int)] = [
        ("cookie", 1), ("id, high half", 5), ("id, low half", 10), ("size, high byte", 12),
        ("size, low byte", 15), ("data size, high byte", 16), ("data size, low byte", 19),
        ("data", 60), ("flags", 100), ("name size", 101), ("name", 103), ("mime size", 107),
        ("mime", 108), ("last modified", 112), ("checksum", 116), ("append time", 121),
        ("padding", 127),
    ]

    private func put(_ volume: Volume, _ key: NeedleKey) throws {
        try volume.put(key, pattern(key, 80)) {
            $0.name = "abcde"
            $0.mime = "t/"
            $0.lastModified = 1_700_000_000
        }
    }

    private func make() throws -> Bench {
        let bench = Bench()
        let volume = try bench.create()
        for key in NeedleKey(1)...5 { try put(volume, key) }
        volume.close()
        return bench
    }

    @Test func everyFieldOfAMiddleRecord() throws {
        let start = 8 + 2 * 128
        for (name, place) in DamageTests.fields {
            for bit in [0, 3, 7] {
                for hasIndex in [true, false] {
                    let bench = try make()
                    #expect(try records(bench)[2].offset == UInt64(start))
                    try bench.scratch.edit("1.dat") { $0[start + place] ^= 1 << UInt8(bit) }
                    if !hasIndex { bench.removeIndexes() }
                    let (volume, _) = try bench.open()
                    let text = Comment("\(name), bit \(bit), \(hasIndex ? "index" : "no index")")
                    for key in NeedleKey(1)...5 where key != 3 {
                        #expect(try volume.get(key) == pattern(key, 80), text)
                    }
                    // the damaged one: an error, nothing, or its own bytes; never others
                    if let found = try? volume.get(3) { #expect(found == pattern(3, 80), text) }
                    if ["data", "checksum"].contains(name) {
                        #expect((try? volume.get(3)) == nil, text)
                    }
                    volume.close()
                }
            }
        }
    }

    @Test func theReportNamesVolumeOffsetExpectedAndFound() throws {
        let bench = try make()
        try bench.scratch.edit("1.dat") { $0[8 + 2 * 128 + 60] ^= 1 }
        let stored = crc(pattern(3, 80))
        var bytes = pattern(3, 80)
        bytes[40] ^= 1
        let computed = crc(bytes)
        let (indexed, clean) = try bench.open()
        #expect(clean.damages.isEmpty)
        let expected = NeedleError.damaged(
            1, offset: 264, expected: "checksum \(hex(stored)) of needle 3", found: hex(computed))
        #expect(throws: expected) { try indexed.get(3) }
        #expect(
            expected.description
                == "volume 1: at offset 264 expected checksum \(hex(stored)) of needle 3, found "
                + hex(computed))
        indexed.close()
        bench.removeIndexes()
        let (volume, report) = try bench.open()
        let place =
            "volume 1: at offset 264 expected a needle, found checksum \(hex(stored)) over data of "
            + "\(hex(computed)); the next one was found at offset 392"
        #expect(report.damages == [place])
        let info = volume.info
        #expect(info.readOnlyReason?.hasPrefix(place) == true)
        #expect(throws: NeedleError.readOnly(1, reason: info.readOnlyReason ?? "")) {
            try volume.put(9, [1])
        }
        #expect(try volume.get(4) == pattern(4, 80))
        volume.close()
    }

    @Test func compactionMakesADamagedVolumeWritable() throws {
        let bench = try make()
        try bench.scratch.edit("1.dat") { $0[8 + 2 * 128 + 60] ^= 1 }
        bench.removeIndexes()
        let (volume, _) = try bench.open()
        #expect(volume.info.isReadOnly)
        try volume.compact()
        try volume.commitCompaction()
        #expect(!volume.info.isReadOnly)
        try volume.put(9, [9])
        for key in NeedleKey(1)...5 where key != 3 {
            #expect(try volume.get(key) == pattern(key, 80))
        }
        volume.close()
    }

    @Test func compactionKeepsDamagedNeedlesAsTheyAre() throws {
        let bench = try make()
        try bench.scratch.edit("1.dat") { $0[8 + 2 * 128 + 60] ^= 1 }
        let (volume, _) = try bench.open()
        try volume.drop(1)
        try volume.compact()
        try volume.commitCompaction()
        #expect(throws: NeedleError.self) { try volume.get(3) }
        // the bit flips back: what was kept is what was there
        let place = try #require(try volume.locate(3)).1.offset
        volume.close()
        try bench.scratch.edit("1.dat") { $0[Int(place) + 60] ^= 1 }
        let (again, _) = try bench.open()
        #expect(try again.get(3) == pattern(3, 80))
        again.close()
    }

    @Test(arguments: [512, 4096, 100_000])
    func aLostStretchCostsOnlyTheNeedlesInIt(_ length: Int) throws {
        let bench = Bench()
        let volume = try bench.create()
        for key in NeedleKey(1)...2000 { try volume.put(key, pattern(key, 100)) }
        volume.close()
        let places = Dictionary(uniqueKeysWithValues: try records(bench).map { ($0.header.id, $0) })
        let hole = 70_001..<70_001 + length
        for fill in ["zeros", "garbage"] {
            try bench.scratch.edit("1.dat") { bytes in
                bytes.replaceSubrange(
                    hole,
                    with: fill == "zeros"
                        ? [UInt8](repeating: 0, count: length) : pattern(5, length))
            }
            bench.removeIndexes()
            let (again, report) = try bench.open()
            #expect(report.damages.count == 1)
            for key in NeedleKey(1)...2000 {
                guard let record = places[key] else { continue }
                if Int(record.end) <= hole.lowerBound || Int(record.offset) >= hole.upperBound {
                    #expect(try again.get(key) == pattern(key, 100), "needle \(key), \(fill)")
                } else {
                    #expect(try again.get(key) == nil, "needle \(key), \(fill)")
                }
            }
            again.close()
        }
    }

    @Test func garbageIsPassedQuickly() throws {
        let bench = Bench()
        let volume = try bench.create()
        try volume.put(1, [1])
        volume.close()
        let garbage = pattern(99, 8 << 20)
        try bench.scratch.edit("1.dat") { $0 += garbage }
        let size = try bench.scratch.bytes("1.dat").count
        let start = WallClock.nanoseconds
        let (again, report) = try bench.open()
        let seconds = Double(WallClock.nanoseconds - start) / 1e9
        print("8 MiB of garbage behind the last needle passed in \(seconds) s")
        #expect(report.notes.contains { $0.contains("bytes behind the last whole needle") })
        #expect(seconds < 30)
        #expect(try bench.scratch.bytes("1.dat").count == size)
        try again.put(2, [2])
        again.close()
        let (third, _) = try bench.open()
        #expect(try third.get(1) == [1] && third.get(2) == [2])
        third.close()
    }

    /// Content that looks like a record of megabytes at every step must not make the walk
    /// quadratic.
    @Test(arguments: [UInt8(1), 2, 3])
    func contentThatLooksLikeRecordsIsPassedQuickly(_ version: UInt8) throws {
        let bench = Bench()
        let volume = try bench.create()
        try volume.put(1, [1])
        volume.close()
        let total = 1 << 20
        var body: [UInt8] = []
        body.reserveCapacity(total)
        // words a, b, a, b …: read as a header, b is the size and a, a little less, the data size
        let (a, b) = (UInt32(total / 2 - 100), UInt32(total / 2))
        while body.count < total {
            for word in [a, b] {
                for shift in [24, 16, 8, 0] as [UInt32] {
                    body.append(UInt8(truncatingIfNeeded: word >> shift))
                }
            }
        }
        try bench.scratch.edit("1.dat") { bytes in
            bytes[0] = version
            if version < 3 { bytes.removeLast(bytes.count - 8) }
            bytes += body
        }
        bench.removeIndexes()
        let start = WallClock.nanoseconds
        let (again, _) = try bench.open()
        let seconds = Double(WallClock.nanoseconds - start) / 1e9
        print("1 MiB that looks like records, version \(version), passed in \(seconds) s")
        #expect(seconds < 30)
        again.close()
    }

    /// A stored file may itself hold records, of another volume for instance.
    ///
    /// They are not needles of this one.
    @Test func recordsInsideAStoredFileAreNotNeedles() throws {
        let inner = Bench()
        let small = try inner.create()
        for key in NeedleKey(1)...20 { try small.put(key, pattern(key + 1000, 50)) }
        small.close()
        let image = try inner.scratch.bytes("1.dat")
        let bench = Bench()
        let volume = try bench.create()
        for key in NeedleKey(1)...5 { try volume.put(key, pattern(key, 80)) }
        let offset = Int(volume.info.size)
        try volume.put(30, Array(image[8...]))
        try volume.put(31, [31])
        volume.close()
        try bench.scratch.edit("1.dat") { $0[offset + 14] ^= 0x40 }
        bench.removeIndexes()
        let (again, report) = try bench.open()
        #expect(report.damages.count == 1)
        for key in NeedleKey(1)...5 { #expect(try again.get(key) == pattern(key, 80)) }
        for key in NeedleKey(6)...20 { #expect(try again.get(key) == nil) }
        #expect(try again.get(31) == [31])
        again.close()
    }
}
