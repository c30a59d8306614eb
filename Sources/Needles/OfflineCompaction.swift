public import Logging
public import Model
internal import Platform

/// Compacts one volume of a directory that no server uses.
public enum OfflineCompaction {
    /// What a compaction did.
    public struct Report: Sendable, Equatable {
        /// Bytes of the data file before and after.
        public let bytesBefore, bytesAfter: UInt64
        /// Needles, replaced and deleted ones included, before and after.
        public let needlesBefore, needlesAfter: UInt64
        /// Compaction revision afterwards.
        public let revision: UInt16
        /// What opening the volume found.
        public let notes: [String]
    }

    /// Locks the directory, compacts, unlocks.
    ///
    /// Blocks. Crash-safe at every step.
    /// - Parameter bytesPerSecond: pace of the copy; 0 is no limit.
    public static func run(
        directory: String, name: VolumeName, bytesPerSecond: Int = 0, logger: Logger
    ) throws(NeedleError) -> Report {
        let lock = try DirectoryLock.engine(directory)
        defer { withExtendedLifetime(lock) {} }
        let committers = WorkerPool(name: "commit", count: 1)
        let maintainers = WorkerPool(name: "maintain", count: 1)
        defer {
            maintainers.shutdown()
            committers.shutdown()
        }
        let environment = VolumeEnvironment(
            disk: PosixDisk(), sync: .always, committers: committers, maintainers: maintainers,
            logger: logger, compactionBytesPerSecond: bytesPerSecond, onChange: {},
            now: { WallClock.nanoseconds })
        let paths = VolumePaths(directory: directory, indexDirectory: directory, name: name)
        guard environment.disk.exists(paths.data) else {
            throw .invalid(
                "there is no \(paths.data); name the volume with -volumeId and -collection")
        }
        let (volume, found) = try Volume.open(
            paths: paths, environment: environment, diskID: 0, diskType: "")
        defer { volume.close() }
        let before = volume.info
        try volume.compact()
        try volume.commitCompaction()
        let after = volume.info
        return Report(
            bytesBefore: before.size, bytesAfter: after.size, needlesBefore: before.fileCount,
            needlesAfter: after.fileCount, revision: after.compactRevision,
            notes: found.notes + found.damages)
    }
}

extension DirectoryLock {
    /// The engine's lock on a directory of volumes.
    static func engine(_ directory: String) throws(NeedleError) -> DirectoryLock {
        do throws(Failure) {
            return try DirectoryLock(path: directory + "/volume.lock")
        } catch {
            switch error {
            case .held(let pid): throw .inUse(directory: directory, pid: pid)
            case .disk(let error): throw NeedleError(error)
            }
        }
    }
}
