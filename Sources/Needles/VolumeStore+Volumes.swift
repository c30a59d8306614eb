public import Model
internal import Platform
internal import Synchronization

extension VolumeStore {
    /// The volume, if it is here and serves.
    public func volume(_ id: VolumeID) -> Volume? {
        table.state.withLock { state in
            if case .open(let volume)? = state.slots[id] { volume } else { nil }
        }
    }

    /// The volume, or why it does not serve.
    public func lookup(_ id: VolumeID) -> VolumeLookup {
        table.state.withLock { state in
            switch state.slots[id] {
            case .open(let volume)?: .open(volume)
            case .opening?: .opening
            case .failed(_, _, let reason)?: .failed(reason)
            case nil: .absent
            }
        }
    }

    /// The volumes that serve, by number.
    public var volumes: [Volume] { table.volumes }

    /// Creates an empty volume in the directory with most free slots; durable when it returns.
    ///
    /// Blocks.
    public func create(
        _ id: VolumeID, collection: String, replication: ReplicaPlacement, ttl: TimeToLive,
        diskType: String, preallocate: UInt64 = 0
    ) throws(NeedleError) -> Volume {
        guard VolumeName.isValid(collection: collection) else {
            throw .invalid("\"\(collection)\" cannot be the name of a collection")
        }
        let name = VolumeName(collection: collection, id: id)
        let number = try chooseDirectory(diskType)
        let directory = configuration.directories[number]
        let taken = table.state.withLock { state in
            guard state.slots[id] == nil, !state.isClosed else { return false }
            state.slots[id] = .opening(directory: number, name)
            return true
        }
        guard taken else { throw .exists(id) }
        do throws(NeedleError) {
            let volume = try Volume.create(
                paths: VolumePaths(
                    directory: directory.path,
                    indexDirectory: directory.indexPath ?? directory.path, name: name),
                environment: environment(), diskID: UInt32(number),
                diskType: directory.diskType, replication: replication, ttl: ttl,
                preallocate: preallocate)
            table.state.withLock { $0.slots[id] = .open(volume) }
            changed()
            return volume
        } catch {
            table.state.withLock { $0.slots[id] = nil }
            throw error
        }
    }

    private func chooseDirectory(_ diskType: String) throws(NeedleError) -> Int {
        let wanted = diskType == "hdd" ? "" : diskType
        let counts = table.state.withLock { state in
            state.slots.values.reduce(into: [Int: Int]()) { $0[$1.directory, default: 0] += 1 }
        }
        var best: (number: Int, free: Int)?
        var problems: [String] = []
        for (number, status) in directoryStatuses.enumerated() {
            let directory = configuration.directories[number]
            guard directory.diskType == wanted else { continue }
            let free = slots(of: directory, status) - counts[number, default: 0]
            if let problem = status.problem {
                problems.append("\(directory.path): \(problem)")
            } else if free <= 0 {
                problems.append(
                    "\(directory.path): holds \(counts[number, default: 0]) volumes, its -max")
            } else if free > best?.free ?? 0 {
                best = (number, free)
            }
        }
        guard let best else {
            let why =
                problems.isEmpty
                ? "no directory of disk type \"\(diskType)\"" : problems.joined(separator: "; ")
            throw .diskFull("no room for another volume: \(why)")
        }
        return best.number
    }

    private func slots(of directory: StoreConfiguration.Directory, _ status: DirectoryStatus) -> Int
    {
        guard directory.maxVolumes == 0 else { return directory.maxVolumes }
        let inUse = volumes.filter { $0.paths.directory == directory.path }.count
        return inUse + Int(clamping: status.free / max(1, volumeSizeLimit))
    }

    /// Deletes a volume and its files.
    ///
    /// Blocks.
    public func delete(_ id: VolumeID) throws(NeedleError) {
        let volume = table.state.withLock { state -> Volume? in
            guard case .open(let volume)? = state.slots[id] else { return nil }
            state.slots[id] = nil
            return volume
        }
        guard let volume else { throw .noVolume(id) }
        try volume.removeFiles()
        changed()
    }

    /// Deletes every volume of a collection; returns their numbers.
    ///
    /// Blocks.
    public func deleteCollection(_ name: String) throws(NeedleError) -> [VolumeID] {
        let ids = volumes.filter { $0.collection == name }.map(\.id)
        for id in ids { try delete(id) }
        return ids
    }

    /// How many volumes there may be, by disk type.
    public var maxVolumes: [String: Int] {
        var result: [String: Int] = [:]
        for (directory, status) in zip(configuration.directories, directoryStatuses) {
            result[directory.diskType, default: 0] += slots(of: directory, status)
        }
        return result
    }

    /// Space of every directory.
    public var directoryStatuses: [DirectoryStatus] {
        configuration.directories.map { directory in
            do throws(DiskError) {
                let space = try configuration.disk.space(at: directory.path)
                return DirectoryStatus(
                    path: directory.path, all: space.total, used: space.total - space.available,
                    free: space.available,
                    problem: lowSpace(directory.path, space.total, free: space.available))
            } catch {
                return DirectoryStatus(
                    path: directory.path, all: 0, used: 0, free: 0, problem: error.description)
            }
        }
    }

    /// What is wrong with the free space of a directory; one that was low stays so until there is a
    /// tenth more than the floor, so that it does not come and go with every write.
    private func lowSpace(_ path: String, _ total: UInt64, free: UInt64) -> String? {
        let floor = configuration.freeSpaceFloor.bytes(of: total)
        let isLow = lowDirectories.withLock { low in
            let wasLow = low.contains(path)
            if free < floor {
                low.insert(path)
            } else if free - floor >= floor / 10 {
                low.remove(path)
            } else {
                return wasLow
            }
            return free < floor
        }
        return isLow ? "\(free >> 20) MiB are free, at least \(floor >> 20) MiB should be" : nil
    }

    /// Volumes found whose files cannot be used, and why.
    public var failedVolumes: [VolumeID: String] {
        table.state.withLock { state in
            state.slots.compactMapValues {
                if case .failed(_, _, let reason) = $0 { reason } else { nil }
            }
        }
    }
}

extension VolumeStore.Slot {
    /// Index of the directory the volume lies in.
    var directory: Int {
        switch self {
        case .open(let volume): Int(volume.diskID)
        case .opening(let number, _), .failed(let number, _, _): number
        }
    }
}
