import ArgumentParser
import Model

/// What every server was told, checked.
struct ProcessSettings: Sendable {
    /// The address told to clients, and why that one.
    var address: AdvertisedAddress
    /// The address to listen on.
    var bind: String
    /// Addresses and networks that may write; empty is this machine, or all when insecure.
    var whiteList: [String]
    /// Whether everybody may write when there is no white list.
    var isInsecure: Bool
    /// Seconds a connection may stay idle.
    var idleSeconds: Int
    /// Event loops.
    var threads: Int

    /// Checks the flags; the errors say which one and what it takes.
    init(_ flags: ProcessFlags, idleTimeout: Int) throws {
        address = try AdvertisedAddress.choose(flag: flags.ip)
        bind = flags.bind ?? address.host
        whiteList = Checked.list(flags.whiteList)
        isInsecure = flags.insecure.isOn
        idleSeconds = try Checked.seconds(idleTimeout, "idleTimeout", 1...86_400)
        threads = flags.threads ?? Checked.processors
        guard (1...Checked.threadLimit).contains(threads) else {
            throw ValidationError("-threads=\(threads) is not from 1 to \(Checked.threadLimit)")
        }
    }
}

/// What a master was told, checked.
struct MasterSettings: Sendable {
    /// Where its state lives.
    var directory: String
    /// Its ports.
    var ports: (http: Int, grpc: Int)
    /// Bytes above which a volume takes no new files.
    var volumeSizeLimit: UInt64
    /// Copies when a request does not say.
    var defaultReplication: ReplicaPlacement
    /// The share of garbage from which a volume is compacted.
    var garbageThreshold: Double
    /// Seconds between two looks for garbage; 0 is never.
    var vacuumIntervalSeconds: Int
    /// Whether it answers only health and cluster paths.
    var isHTTPDisabled: Bool

    /// Checks the flags; the errors say which one and what it takes.
    init<Flags: MasterFlagValues>(
        _ flags: Flags, _ process: ProcessSettings, directory: String
    ) throws {
        let prefix = Flags.prefix
        self.directory = directory
        ports = try (
            Checked.port(flags.port, "\(prefix)port"),
            Checked.grpcPort(flags.grpcPort, "\(prefix)port.grpc", beside: flags.port)
        )
        try Checked.distinct([
            ("\(prefix)port", ports.http), ("\(prefix)port.grpc", ports.grpc),
        ])
        volumeSizeLimit = try Checked.megabytes(
            flags.volumeSizeLimitMB, "\(prefix)volumeSizeLimitMB")
        do {
            defaultReplication = try ReplicaPlacement(parsing: flags.defaultReplication)
        } catch {
            throw ValidationError(
                "-\(prefix)defaultReplication: \(error.description); it is xyz, as in 001")
        }
        garbageThreshold = flags.garbageThreshold
        guard (0...1).contains(garbageThreshold) else {
            throw ValidationError(
                "-\(prefix)garbageThreshold=\(garbageThreshold) is not a share from 0 to 1")
        }
        vacuumIntervalSeconds = try Checked.seconds(
            flags.vacuumIntervalSeconds, "\(prefix)vacuumIntervalSeconds", 0...31_536_000)
        isHTTPDisabled = flags.isHTTPDisabled
        let own = ["\(process.address.host):\(ports.http)", "localhost:\(ports.http)"]
        guard flags.peers.isEmpty || flags.peers == "none" || own.contains(flags.peers) else {
            throw ValidationError(
                "-\(prefix)peers=\(flags.peers): this version runs a single master; say "
                    + "-\(prefix)peers=none")
        }
    }
}

/// What a volume server was told, checked.
struct VolumeSettings: Sendable {
    /// Where volumes live.
    var directories: [Directory]
    /// Where indexes live; `nil` is beside the data files.
    var indexDirectory: String?
    /// Whether no `-dir` was given.
    var directoriesAreDefault: Bool
    /// Its ports; `readOnly` 0 is none.
    var ports: (http: Int, grpc: Int, readOnly: Int)
    /// `host:port` as clients reach it; `nil` is address and port.
    var publicURL: String?
    /// Its name in the cluster; `nil` is address and port.
    var id: String?
    /// Largest file taken, in bytes.
    var fileSizeLimit: UInt64
    /// Bytes a second that compaction may copy; 0 is no limit.
    var compactionBytesPerSecond: Int
    /// What happens to reads of volumes elsewhere.
    var readMode: ReadModeChoice
    /// When answers may leave.
    var sync: SyncChoice
    /// Where it stands.
    var dataCenter: String
    /// Where it stands.
    var rack: String
    /// The masters it joins.
    var masters: MasterList
    /// Seconds it goes on serving after it has left the cluster.
    var preStopSeconds: Int
    /// Free space below which a directory takes no writes.
    var minFreeSpace: FreeSpaceChoice

    /// A directory of volumes.
    struct Directory: Sendable, Equatable {
        /// Where it is.
        var path: String
        /// Most volumes it takes; 0 goes by the free space.
        var maxVolumes: Int
        /// `hdd`, `ssd` or a tag; empty for `hdd`.
        var diskType: String
    }

    /// Checks the flags; the errors say which one and what it takes.
    init<Flags: VolumeFlagValues>(
        _ flags: Flags, _ store: StoreFlags, masters: MasterList
    ) throws {
        let prefix = Flags.prefix
        directoriesAreDefault = store.dir == nil
        directories = try VolumeSettings.directories(flags, store)
        indexDirectory = flags.indexDirectory
        ports = try (
            Checked.port(flags.port, "\(prefix)port"),
            Checked.grpcPort(flags.grpcPort, "\(prefix)port.grpc", beside: flags.port),
            Checked.port(flags.publicPort, "\(prefix)port.public")
        )
        try Checked.distinct([
            ("\(prefix)port", ports.http), ("\(prefix)port.grpc", ports.grpc),
            ("\(prefix)port.public", ports.readOnly == ports.http ? 0 : ports.readOnly),
        ])
        publicURL = flags.publicURL.flatMap { $0.isEmpty ? nil : $0 }
        id = flags.id.flatMap { $0.isEmpty ? nil : $0 }
        fileSizeLimit = try Checked.megabytes(flags.fileSizeLimitMB, "\(prefix)fileSizeLimitMB")
        guard (0...1_000_000).contains(flags.compactionMBps) else {
            throw ValidationError("-\(prefix)compactionMBps must be 0 (no limit) to 1000000")
        }
        compactionBytesPerSecond = flags.compactionMBps << 20
        readMode = flags.readMode
        sync = store.sync
        dataCenter = store.dataCenter
        rack = store.rack
        self.masters = masters
        preStopSeconds = try Checked.seconds(
            flags.preStopSeconds, "\(prefix)preStopSeconds", 0...3600)
        minFreeSpace = flags.minFreeSpace ?? flags.minFreeSpacePercent ?? .percent(1)
    }

    private static func directories<Flags: VolumeFlagValues>(
        _ flags: Flags, _ store: StoreFlags
    ) throws -> [Directory] {
        let paths = store.dir.map(Checked.list) ?? [Checked.temporaryDirectory]
        guard (1...Checked.directoryLimit).contains(paths.count) else {
            throw ValidationError(
                "-dir names \(paths.count) directories; it takes 1 to \(Checked.directoryLimit)")
        }
        guard Set(paths).count == paths.count else {
            throw ValidationError(
                "-dir names a directory twice: \(paths.joined(separator: ","))")
        }
        let limits = try Checked.list(flags.max).map { text in
            guard let value = Int(text), (0...1_000_000).contains(value) else {
                throw ValidationError(
                    "-\(Flags.prefix)max: \"\(text)\" is not a number of volumes, 0 or more")
            }
            return value
        }
        try Checked.count(limits.count, "\(Flags.prefix)max", paths.count)
        let types = Checked.list(flags.disk)
        if !types.isEmpty { try Checked.count(types.count, "\(Flags.prefix)disk", paths.count) }
        return paths.enumerated().map { index, path in
            Directory(
                path: path, maxVolumes: limits.count == 1 ? limits[0] : limits[index],
                diskType: types.isEmpty ? "" : types.count == 1 ? types[0] : types[index])
        }
    }
}
