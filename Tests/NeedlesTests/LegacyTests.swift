import FoundationEssentials
import Model
import NIOCore
import Platform
import Synchronization
import Testing

@testable import Needles

/// Volumes of the Go original: read in place, changed only with the first change, and whole
/// afterwards.
@Suite struct LegacyTests {
    struct Manifest: Decodable {
        struct Entry: Decodable {
            var fid: String
            var state: String
            var volume_id: UInt32
            var needle_id: String
            var cookie: String
            var size: Int?
            var etag: String?
            var expires_at_unix: UInt64?
        }
        var entries: [Entry]?
    }

    /// Directories of golden volumes, relative to their root.
    static let directories: [String] = {
        var found: [String] = []
        func walk(_ path: String) {
            for name in (try? PosixDisk().list(root + path)) ?? [] {
                let inner = path + "/" + name
                if name == "manifest.json" { found.append(path) }
                if let list = try? PosixDisk().list(root + inner), !list.isEmpty { walk(inner) }
            }
        }
        walk("")
        return found.sorted()
    }()

    static let root: String = {
        var parts = #filePath.split(separator: "/")
        parts.removeLast(2)
        return "/" + parts.joined(separator: "/") + "/Fixtures/golden"
    }()

    private func manifest(_ directory: String) throws -> Manifest {
        let path = LegacyTests.root + directory + "/manifest.json"
        let bytes = try PosixDisk().readFile(path, limit: 1 << 26)
        return try JSONDecoder().decode(Manifest.self, from: Data(bytes))
    }

    /// The volumes of a directory that are there to be opened.
    private func names(_ scratch: Scratch) -> [VolumeName] {
        scratch.names.filter { $0.hasSuffix(".dat") }.compactMap {
            VolumeName(baseName: String($0.dropLast(4)))
        }
    }

    /// What the server answered is what a read gives; where it answered an error, anything but
    /// wrong bytes.
    private func compare(
        _ volume: Volume, _ entries: [Manifest.Entry], _ directory: String
    ) throws {
        for entry in entries where entry.volume_id == volume.id {
            let file = try FileID(entry.fid)
            let comment = Comment("\(directory): \(entry.fid) \(entry.state)")
            let found = try? volume.read(file.key, cookie: file.cookie)
            let isOver = entry.expires_at_unix.map { $0 <= WallClock.seconds } ?? false
            guard entry.state == "live", !isOver else {
                if entry.state == "deleted" { #expect(found.map(\.id) == nil, comment) }
                continue
            }
            guard let needle = found else {
                Issue.record("not found: \(comment)")
                continue
            }
            if let etag = entry.etag, !needle.isChunkManifest {
                let digits = hex(needle.checksum)
                let padded = String(repeating: "0", count: 8 - digits.count) + digits
                #expect(etag.contains(padded) || needle.length == 0, comment)
            }
        }
    }

    /// Damage by hand where the original served something worse than nothing, or where this engine
    /// knows less or more.
    private static let different = [
        // the original serves a record whose id is another one, or whose index row names another
        // needle
        "/13-bit-flip/f-needle-id", "/14-index-damage/i-swapped-offset",
        // the original forgets a delete whose row is missing
        "/14-index-damage/b-last-tombstone-row-missing",
        // the whole volume is refused there
        "/26-startup/b-unknown-version", "/26-startup/e-short-superblock",
        "/26-startup/f-empty-dat",
        "/26-startup/i-note",
    ]

    @Test(arguments: directories)
    func goldenVolumesReadInPlace(_ directory: String) throws {
        guard !LegacyTests.different.contains(directory) else { return }
        let entries = try manifest(directory).entries ?? []
        let scratch = Scratch()
        try scratch.copy(from: LegacyTests.root + directory)
        for name in names(scratch) {
            let before = try snapshot(scratch)
            let bench = Bench(scratch, volume: name)
            let (volume, _) = try bench.open()
            try compare(volume, entries, directory)
            volume.close()
            // opened a second time it is the same
            let (again, report) = try bench.open()
            #expect(!report.notes.contains { $0.hasPrefix("index built") })
            try compare(again, entries, directory)
            again.close()
            if !directory.contains("19-crash-states") {
                #expect(try snapshot(scratch) == before, "\(directory): reading changed a file")
            }
        }
    }

    private func snapshot(_ scratch: Scratch) throws -> [String: [UInt8]] {
        var files: [String: [UInt8]] = [:]
        for name in scratch.names where !name.contains(".lmdb") {
            files[name] = try scratch.bytes(name)
        }
        return files
    }

    /// The first change removes what it makes stale, and loses nothing that only the original's
    /// index knew.
    @Test(arguments: directories)
    func aChangedGoldenVolumeKeepsItsNeedles(_ directory: String) throws {
        guard !LegacyTests.different.contains(directory) else { return }
        let scratch = Scratch()
        try scratch.copy(from: LegacyTests.root + directory)
        for name in names(scratch) {
            let bench = Bench(scratch, volume: name)
            let (volume, _) = try bench.open()
            let live = liveSet(volume)
            guard !volume.info.isReadOnly else {
                volume.close()
                continue
            }
            try volume.put(0xffff_0001, pattern(1, 77))
            #expect(volume.info.size % 8 == 0)
            for suffix in [".idx", ".sdx", ".rdb"] {
                #expect(
                    !scratch.names.contains("\(name)\(suffix)"), "\(directory): \(suffix) is stale")
            }
            try expect(volume, live, directory)
            volume.abandonWithoutClosing()
            let (tail, _) = try bench.open()
            try expect(tail, live, directory)
            #expect(try tail.get(0xffff_0001) == pattern(1, 77))
            tail.close()
            // the data file alone says it all
            bench.removeIndexes()
            let (rebuilt, _) = try bench.open()
            try expect(rebuilt, live, directory + ", rebuilt")
            #expect(try rebuilt.get(0xffff_0001) == pattern(1, 77))
            rebuilt.close()
        }
    }

    @Test(arguments: directories)
    func aCompactedGoldenVolumeKeepsItsNeedles(_ directory: String) throws {
        guard !LegacyTests.different.contains(directory) else { return }
        let scratch = Scratch()
        try scratch.copy(from: LegacyTests.root + directory)
        for name in names(scratch) {
            let bench = Bench(scratch, volume: name)
            let (volume, _) = try bench.open()
            let live = liveSet(volume)
            try volume.compact()
            try volume.commitCompaction()
            try expect(volume, live, directory)
            volume.close()
            bench.removeIndexes()
            let (rebuilt, _) = try bench.open()
            try expect(rebuilt, live, directory + ", rebuilt")
            rebuilt.close()
        }
    }

    /// Checksums of all needles that can be read and have not expired.
    private func liveSet(_ volume: Volume) -> [NeedleKey: UInt32] {
        var live: [NeedleKey: UInt32] = [:]
        let (generation, recent) = volume.state.withLock { ($0.generation, $0.recent) }
        var entries: [NeedleKey: IndexEntry] = [:]
        try? generation.index.forEach { key, entry in entries[key] = entry }
        entries.merge(recent) { _, new in new }
        for (key, entry) in entries where !entry.isDeleted {
            guard let needle = try? generation.data.read(key, entry),
                !needle.isExpired(at: WallClock.seconds)
            else { continue }
            live[key] = needle.checksum
        }
        return live
    }

    private func expect(
        _ volume: Volume, _ live: [NeedleKey: UInt32], _ directory: String
    ) throws {
        var found = liveSet(volume)
        found[0xffff_0001] = nil
        let keys = Set(found.keys).union(live.keys).filter { found[$0] != live[$0] }
        #expect(keys.map { hex($0) }.sorted() == [], "\(directory)")
    }

    @Test func aSoundIndexSavesReadingTheData() throws {
        let scratch = Scratch()
        try scratch.copy(from: LegacyTests.root + "/06-deletes-overwrites")
        let bench = Bench(scratch, volume: VolumeName(collection: "", id: 6))
        let (volume, report) = try bench.open()
        #expect(report.notes.count == 1 && report.notes[0].hasPrefix("index built from"))
        #expect(report.scannedBytes == 0)
        volume.close()
    }

    /// Only padding is missing: the file ends before the last record does.
    @Test(arguments: 1...8)
    func aLastRecordWithoutPaddingIsWhole(_ missing: Int) throws {
        let bench = Bench()
        let volume = try bench.create()
        try volume.put(1, pattern(1, 50))
        // 16 + 4 + data + 6 + 12 bytes before the padding
        try volume.put(2, pattern(2, 58))
        let end = volume.info.size
        volume.close()
        try bench.scratch.edit("1.dat") { $0.removeLast(missing) }
        bench.removeIndexes()
        for _ in 0..<2 {
            let (again, report) = try bench.open()
            #expect(report.damages.isEmpty)
            #expect(again.info.size == end)
            #expect(try again.get(2) == pattern(2, 58))
            again.close()
        }
        let (third, _) = try bench.open()
        try third.repairIndex("the test asks for it")
        #expect(try third.get(2) == pattern(2, 58))
        try third.put(3, [3])
        #expect(third.state.withLock { $0.lastRecord } == end)
        third.close()
        let (fourth, report) = try bench.open()
        #expect(report.damages.isEmpty)
        #expect(try fourth.get(1) == pattern(1, 50) && fourth.get(2) == pattern(2, 58))
        #expect(try fourth.get(3) == [3])
        fourth.close()
    }

    /// The original appended behind our index; its padding is not ours.
    @Test func recordsOfTheOriginalBehindTheWatermarkAreTaken() throws {
        let scratch = Scratch()
        try scratch.copy(from: LegacyTests.root + "/01-plain")
        let whole = try scratch.bytes("1.dat")
        let bench = Bench(scratch, volume: VolumeName(collection: "", id: 1))
        let all = try records(bench)
        // half of the file, indexed by us without .idx
        try PosixDisk().remove(scratch.file("1.idx"))
        try scratch.write("1.dat", Array(whole[..<Int(all[all.count / 2].offset)]))
        let (half, _) = try bench.open()
        half.close()
        try scratch.write("1.dat", whole)
        let (volume, report) = try bench.open()
        #expect(report.damages.isEmpty && report.scannedBytes > 0)
        for record in all {
            #expect(try volume.read(record.header.id, cookie: record.header.cookie) != nil)
        }
        volume.close()
        #expect(try scratch.bytes("1.dat") == whole)
    }
}
