import Glibc
import Platform

/// The text file `IDENTITY`: whose directory this is, also when the log is gone.
///
/// ```
/// node 0123456789abcdef
/// cluster 01234567-89ab-4def-8123-456789abcdef
/// created 2026-01-03T10:11:12Z
/// ```
/// `cluster none` until the node belongs to one.
struct Identity: Equatable {
    static let fileName = "IDENTITY"
    var node: UInt64
    var cluster: ClusterID?
    var created: String

    var clusterText: String { cluster?.description ?? "none" }

    var text: String {
        "node \(Hexadecimal.text(node))\ncluster \(clusterText)\ncreated \(created)\n"
    }

    /// The directory's identity, `nil` if it has none.
    static func load(_ directory: String, _ disk: PosixDisk) throws(RaftLogError) -> Identity? {
        let path = directory + "/" + fileName
        let bytes: [UInt8]
        do throws(DiskError) {
            bytes = try disk.readFile(path, limit: 4096)
        } catch {
            if error.isNotFound { return nil }
            throw RaftLogError(error)
        }
        return try parse(String(decoding: bytes, as: UTF8.self), path: path)
    }

    static func parse(_ text: String, path: String) throws(RaftLogError) -> Identity {
        var fields: [Substring: Substring] = [:]
        for line in text.split(separator: "\n") {
            guard let space = line.firstIndex(of: " ") else { continue }
            fields[line[..<space]] = line[line.index(after: space)...]
        }
        guard let node = fields["node"].flatMap({ Hexadecimal.parse($0) }) else {
            throw .unreadableIdentity(path: path, reason: "no line 'node <16 hex digits>'")
        }
        guard let clusterText = fields["cluster"] else {
            throw .unreadableIdentity(path: path, reason: "no line 'cluster <id or none>'")
        }
        let cluster = ClusterID(String(clusterText))
        guard cluster != nil || clusterText == "none" else {
            throw .unreadableIdentity(path: path, reason: "'cluster \(clusterText)' is no id")
        }
        return Identity(
            node: node, cluster: cluster, created: fields["created"].map(String.init) ?? "unknown")
    }

    /// Replaces the file durably.
    func store(_ directory: String, _ disk: PosixDisk) throws(RaftLogError) {
        do throws(DiskError) {
            let path = directory + "/" + Self.fileName
            try disk.replaceFile(path, in: directory, with: Array(text.utf8))
        } catch {
            throw RaftLogError(error)
        }
    }

    /// The time now, `2026-01-03T10:11:12Z`.
    static func now() -> String {
        var seconds = time_t(WallClock.seconds)
        var parts = unsafe tm()
        unsafe gmtime_r(&seconds, &parts)
        let date = unsafe [parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday]
        let time = unsafe [parts.tm_hour, parts.tm_min, parts.tm_sec]
        func text(_ values: [CInt], _ separator: String) -> String {
            values.map { $0 < 10 ? "0\($0)" : "\($0)" }.joined(separator: separator)
        }
        return text(date, "-") + "T" + text(time, ":") + "Z"
    }
}
