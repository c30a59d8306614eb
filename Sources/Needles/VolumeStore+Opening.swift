internal import Glibc
internal import Logging
public import Model
internal import Platform
internal import Synchronization

extension VolumeStore {
    /// What was found at the start, a line each.
    public var startReport: [String] { table.state.withLock { $0.report } }

    /// Finds the volumes of all directories and opens them, two at a time.
    func openAll() {
        var found: [(Int, VolumeName)] = []
        for (number, directory) in configuration.directories.enumerated() {
            let names = (try? configuration.disk.list(directory.path)) ?? []
            for file in names where file.hasSuffix(".dat") {
                guard let name = VolumeName(baseName: String(file.dropLast(4))) else { continue }
                found.append((number, name))
            }
        }
        for (number, name) in found {
            table.state.withLock { state in
                if let other = state.slots[name.id] {
                    state.report.append(
                        """
                        volume \(name.id) is there twice, as \(other.place(configuration)) and in \
                        \(configuration.directories[number].path) as \(name).dat: the second is left alone
                        """)
                } else {
                    state.slots[name.id] = .opening(directory: number, name)
                }
            }
        }
        let unopened = table.state.withLock { state in
            state.slots.values.compactMap { slot -> (Int, VolumeName)? in
                if case .opening(let directory, let name) = slot { (directory, name) } else { nil }
            }
        }.sorted { $0.1.id < $1.1.id }
        let began = WallClock.nanoseconds
        for (number, name) in unopened { run(opening: { self.open(number, name) }) }
        waitForOpening(since: began)
    }

    private func waitForOpening(since began: UInt64) {
        let limit = UInt64(configuration.openWaitSeconds * 1e9)
        while WallClock.nanoseconds - began < limit, !openingVolumes.isEmpty { usleep(500) }
        let still = openingVolumes
        let seconds = Double((WallClock.nanoseconds - began) / 1_000_000) / 1000
        table.state.withLock { state in
            state.report.insert(
                "opened \(state.slots.count - still.count) volumes in \(seconds) s", at: 0)
            if !still.isEmpty {
                state.report.append(
                    "volumes \(still) are still being indexed; the others serve meanwhile")
            }
        }
    }

    /// Volumes whose index is being built.
    public var openingVolumes: [VolumeID] {
        table.state.withLock { state in
            state.slots.compactMap { if case .opening = $0.value { $0.key } else { nil } }
        }.sorted()
    }

    private func open(_ number: Int, _ name: VolumeName) {
        let directory = configuration.directories[number]
        let paths = VolumePaths(
            directory: directory.path, indexDirectory: directory.indexPath ?? directory.path,
            name: name)
        let slot: Slot
        var report: [String] = []
        do throws(NeedleError) {
            let (volume, found) = try Volume.open(
                paths: paths, environment: environment(), diskID: UInt32(number),
                diskType: directory.diskType)
            slot = .open(volume)
            report = (found.notes + found.damages).map { "volume \(name.id): \($0)" }
            if found.scannedBytes > 0 {
                report.append("volume \(name.id): read \(found.scannedBytes) bytes of \(name).dat")
            }
            for damage in found.damages { logger.error("\(damage)") }
        } catch {
            slot = .failed(directory: number, name, error.description)
            report = ["volume \(name.id) in \(directory.path) is not served: \(error)"]
            logger.error("\(report[0])")
        }
        let lines = report
        let isClosed = table.state.withLock { state in
            state.slots[name.id] = slot
            state.report.append(contentsOf: lines)
            return state.isClosed
        }
        if isClosed, case .open(let volume) = slot { volume.close() }
        changed()
    }
}

extension VolumeStore.Slot {
    /// Directory and name, for messages.
    func place(_ configuration: StoreConfiguration) -> String {
        switch self {
        case .open(let volume): "\(volume.paths.directory)/\(volume.paths.name).dat"
        case .opening(let number, let name), .failed(let number, let name, _):
            "\(configuration.directories[number].path)/\(name).dat"
        }
    }
}

extension Volume {
    /// Opens the files of a volume; blocks, for as long as reading the whole file takes if its
    /// index must be built.
    static func open(
        paths: VolumePaths, environment: VolumeEnvironment, diskID: UInt32, diskType: String
    ) throws(NeedleError) -> (Volume, RecoveryReport) {
        if environment.disk.exists(paths.unfinishedCopyNote) {
            throw .invalid(
                "\(paths.unfinishedCopyNote) marks a copy that was not finished; remove it to use what "
                    + "is there, or remove the volume's files")
        }
        var recovery = Recovery(
            paths: paths, disk: environment.disk, logger: environment.logger)
        let state = try recovery.open()
        let volume = Volume(
            paths: paths, environment: environment, diskID: diskID, diskType: diskType,
            state: state)
        return (volume, recovery.report)
    }

    /// Creates an empty volume; durable, directory entries included, when it returns.
    ///
    /// Blocks.
    static func create(
        paths: VolumePaths, environment: VolumeEnvironment, diskID: UInt32, diskType: String,
        replication: ReplicaPlacement, ttl: TimeToLive, preallocate: UInt64
    ) throws(NeedleError) -> Volume {
        let superBlock = SuperBlock(replication: replication, ttl: ttl)
        for number in paths.indexGenerations() { paths.removeIndex(number) }
        do throws(DiskError) {
            let file = try environment.disk.open(paths.data, .create)
            do throws(DiskError) {
                if preallocate > 0 { try file.reserve(at: 0, length: preallocate) }
                try unsafe file.write(superBlock.bytes.span.bytes, at: 0)
                try file.sync()
                let info = try environment.disk.open(paths.info, .createOrTruncate)
                let text = VolumeInfoFile.initial
                try unsafe info.write(text.span.bytes, at: 0)
                try info.sync()
                try environment.disk.syncDirectory(paths.directory)
            } catch {
                try? environment.disk.remove(paths.data)
                try? environment.disk.remove(paths.info)
                throw error
            }
        } catch {
            throw error.isExists ? .exists(paths.name.id) : NeedleError(error)
        }
        do throws(NeedleError) {
            return try open(
                paths: paths, environment: environment, diskID: diskID, diskType: diskType
            ).0
        } catch {
            // no index could be made: leave nothing behind that the next start would serve
            try? environment.disk.remove(paths.data)
            try? environment.disk.remove(paths.info)
            throw error
        }
    }

    /// Takes nothing more and removes the files.
    ///
    /// Blocks. Bytes cut off by a repair stay.
    func removeFiles() throws(NeedleError) {
        close()
        try disk { () throws(DiskError) in
            // the data file first: without it the rest is no volume
            let files =
                [paths.data, paths.info, paths.compaction, paths.unavailable] + paths.derived
            for file in files { try environment.disk.remove(file) }
            try environment.disk.syncDirectory(paths.directory)
        }
        for number in paths.indexGenerations() { paths.removeIndex(number) }
    }

    /// Queues a checkpoint if anything is outside the index.
    func checkpointIfStale() {
        let (due, isIdle) = state.withLock { state in
            guard !state.checkpointQueued, !state.isClosed else { return (false, false) }
            guard state.end > state.watermark else {
                return (false, state.generation.data.runway.isLaid)
            }
            state.checkpointQueued = true
            return (true, false)
        }
        if due { queueCheckpoint() }
        guard isIdle else { return }
        enqueue(.exclusive { self.giveBackRunway() })
    }
}
