import FoundationEssentials
import Glibc

/// A new directory that is removed, with all in it, when the last reference goes.
public final class TemporaryDirectory: Sendable {
    /// Absolute path without a slash at the end.
    public let path: String

    /// Makes the directory under `TMPDIR`, or under `/tmp`.
    public init(_ label: String = "weed") throws {
        let base = ProcessInfo.processInfo.environment["TMPDIR"] ?? "/tmp"
        let name = "\(label)-\(getpid())-\(UInt64.random(in: 0..<1 << 40))"
        path = base + "/" + name
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// The path of something in it.
    public func file(_ name: String) -> String { path + "/" + name }
}

/// Whole files, for tests.
public enum Files {
    /// The content, or `nil` when there is no such file.
    public static func read(_ path: String) -> [UInt8]? {
        FileManager.default.contents(atPath: path).map { Array($0) }
    }

    /// Writes a new file or replaces one.
    public static func write(_ bytes: [UInt8], to path: String) throws {
        try Data(bytes).write(to: URL(filePath: path))
    }

    /// The names in a directory, sorted; empty when it cannot be read.
    public static func names(in directory: String) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []).sorted()
    }

    /// Whether there is something at the path.
    public static func exist(_ path: String) -> Bool {
        FileManager.default.fileExists(atPath: path)
    }

    /// Copies one file; the copy is writable and may replace another.
    public static func copy(_ source: String, to target: String) throws {
        guard let bytes = read(source) else { throw CocoaError(.fileReadNoSuchFile) }
        try write(bytes, to: target)
    }
}
