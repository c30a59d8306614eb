internal import Glibc
internal import Model
internal import Platform

/// The files of a volume.
///
/// Data files go through the `Disk`; index files are LMDB's and lie on the real one.
struct VolumePaths: Sendable, Equatable {
    /// Directory of the data files.
    let directory: String
    /// Directory of the index files; usually the same.
    let indexDirectory: String
    let name: VolumeName

    private var base: String { "\(directory)/\(name)" }
    var data: String { base + ".dat" }
    var info: String { base + ".vif" }
    var legacyIndex: String { base + ".idx" }
    /// The copy that compaction makes.
    var compaction: String { base + ".cpd" }
    /// The original's compacted index and commit marker.
    var legacyCompactedIndex: String { base + ".cpx" }
    var legacyCommitMarker: String { base + ".cpc" }
    /// Marks a copy of a volume that the original did not finish.
    var unfinishedCopyNote: String { base + ".note" }
    /// Left by the original after a write error it could not undo.
    var unavailable: String { base + ".unavailable" }
    /// Files that say the same as `.idx` and go stale with it.
    var derived: [String] { [".idx", ".sdx", ".rdb"].map { base + $0 } }

    /// Where cut-off bytes are kept.
    func torn(at offset: UInt64) -> String { "\(base).torn-\(offset)-\(WallClock.seconds)" }

    /// The index file of a generation: a number that only grows, so that no name is used twice
    /// while a reader may still have the old file open.
    func index(_ generation: UInt64) -> String {
        "\(indexDirectory)/\(name).\(generation).lmdb"
    }

    /// Generations of index files there are, newest first.
    func indexGenerations() -> [UInt64] {
        let prefix = "\(name)."
        let suffix = ".lmdb"
        let names = (try? PosixDisk().list(indexDirectory)) ?? []
        return names.compactMap { file in
            guard file.hasPrefix(prefix), file.hasSuffix(suffix) else { return nil }
            return UInt64(file.dropFirst(prefix.count).dropLast(suffix.count))
        }.sorted(by: >)
    }

    /// Removes an index file and its lock file.
    func removeIndex(_ generation: UInt64) {
        let path = index(generation)
        unsafe unlink(path)
        unsafe unlink(path + "-lock")
    }
}
