import Glibc
import Platform
import Testing

@Suite struct PosixDiskTests {
    private let disk = PosixDisk()
    private let directory: String

    init() {
        directory = "/tmp/posix-disk-\(getpid())-\(UInt64.random(in: .min ... .max))"
        precondition(unsafe mkdir(directory, 0o755) == 0, "no directory: errno \(errno)")
    }

    private func path(_ name: String) -> String { "\(directory)/\(name)" }

    private func clean() {
        for name in (try? disk.list(directory)) ?? [] { try? disk.remove(path(name)) }
        _ = unsafe rmdir(directory)
    }

    private func write(_ file: any DiskFile, _ bytes: [UInt8], at offset: UInt64) throws {
        try unsafe file.write(bytes.span.bytes, at: offset)
    }

    private func read(_ file: any DiskFile, at offset: UInt64, _ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0xee, count: count)
        let got = try unsafe bytes.withUnsafeMutableBytes {
            unsafe try file.read(into: $0, at: offset)
        }
        return Array(bytes[..<got])
    }

    @Test func writesReadsAndCuts() throws {
        defer { clean() }
        let file = try disk.open(path("a"), .create)
        try write(file, [1, 2, 3], at: 10)
        #expect(try file.length() == 13)
        #expect(try read(file, at: 8, 100) == [0, 0, 1, 2, 3])
        #expect(try read(file, at: 13, 5) == [])
        try file.truncate(to: 11)
        try file.sync()
        #expect(try read(file, at: 10, 5) == [1])
        try file.reserve(at: 0, length: 1 << 16)
        #expect(try file.length() == 11)
        #expect(throws: DiskError(call: "open", path: path("a"), code: EEXIST)) {
            try disk.open(path("a"), .create)
        }
        let missing = DiskError(call: "open", path: path("b"), code: ENOENT)
        #expect(throws: missing) { try disk.open(path("b"), .readWrite) }
        #expect(missing.isNotFound && !missing.isNoSpace)
        #expect(missing.description == "open \(path("b")): No such file or directory (errno 2)")
        #expect(try disk.open(path("a"), .createOrTruncate).length() == 0)
    }

    @Test func copiesBetweenFiles() throws {
        defer { clean() }
        let from = try disk.open(path("from"), .create)
        let to = try disk.open(path("to"), .create)
        let bytes = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        try write(from, bytes, at: 0)
        try to.copy(from: from, at: 5, to: 3, length: 2_999_990)
        #expect(try read(to, at: 3, 2_999_990) == Array(bytes[5..<2_999_995]))
        // a range that is not there is an error, not silence
        #expect(throws: DiskError.self) {
            try to.copy(from: from, at: 2_999_999, to: 0, length: 100)
        }
        let nameless = try disk.openNameless(in: directory)
        try write(nameless, [9, 8, 7], at: 0)
        try to.copy(from: nameless, at: 1, to: 0, length: 2)
        #expect(try read(to, at: 0, 2) == [8, 7])
        #expect(try disk.list(directory) == ["from", "to"])
    }

    @Test func replacesASmallFileWhole() throws {
        defer { clean() }
        try disk.replaceFile(path("a"), in: directory, with: [1, 2])
        try disk.replaceFile(path("a"), in: directory, with: [3])
        #expect(try disk.readFile(path("a")) == [3])
        #expect(try disk.list(directory) == ["a"])
        #expect(throws: DiskError(call: "read", path: path("a"), code: DiskError.fileTooLarge)) {
            try disk.readFile(path("a"), limit: 0)
        }
        try disk.rename(path("a"), to: path("b"))
        try disk.remove(path("a"))
        try disk.syncDirectory(directory)
        #expect(!disk.exists(path("a")) && disk.exists(path("b")))
        let space = try disk.space(at: directory)
        #expect(space.total > 0 && space.available <= space.total)
    }

    @Test func cachedReadsGiveAllOrNothing() throws {
        defer { clean() }
        let file = try disk.open(path("a"), .create)
        try write(file, Array(repeating: 5, count: 1000), at: 0)
        var bytes = [UInt8](repeating: 0, count: 100)
        let got = try unsafe bytes.withUnsafeMutableBytes {
            unsafe try file.readCached(into: $0, at: 900)
        }
        #expect(got == nil || got == 100)
        let past = try unsafe bytes.withUnsafeMutableBytes {
            unsafe try file.readCached(into: $0, at: 950)
        }
        #expect(past == nil)
        let copy = try file.duplicateDescriptor()
        #expect(copy >= 0)
        close(copy)
    }

    /// Files of another process' disk cannot be told from full ones by accident.
    @Test func errorsAreTold() {
        #expect(DiskError(call: "x", path: "y", code: ENOSPC).isNoSpace)
        #expect(DiskError(call: "x", path: "y", code: EDQUOT).isNoSpace)
        #expect(DiskError(call: "x", path: "y", code: EROFS).isPermission)
        #expect(DiskError(call: "x", path: "y", code: EEXIST).isExists)
    }
}
