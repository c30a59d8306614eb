import ArgumentParser
import Glibc
import Model

/// What `weed server` was asked to do, checked.
struct ServerConfiguration: Sendable {
    /// Where volumes live.
    var directories: [Directory]
    /// Where indexes live; `nil` is beside the data files.
    var indexDirectory: String?
    /// Whether no `-dir` was given.
    var directoriesAreDefault: Bool
    /// Where the master's state lives.
    var masterDirectory: String
    /// The address told to clients, and why that one.
    var address: AdvertisedAddress
    /// The address to listen on.
    var bind: String
    /// The master's ports.
    var masterPorts: (http: Int, grpc: Int)
    /// The volume server's ports; `readOnly` 0 is none.
    var volumePorts: (http: Int, grpc: Int, readOnly: Int)
    /// `host:port` as clients reach the volume server; `nil` is address and port.
    var publicURL: String?
    /// Bytes above which a volume takes no new files.
    var volumeSizeLimit: UInt64
    /// Copies when a request does not say.
    var defaultReplication: ReplicaPlacement
    /// The share of garbage from which a volume is compacted.
    var garbageThreshold: Double
    /// Largest file taken, in bytes.
    var fileSizeLimit: UInt64
    /// Bytes a second that compaction may copy; 0 is no limit.
    var compactionBytesPerSecond: Int
    /// What happens to reads of volumes elsewhere.
    var readMode: ReadModeChoice
    /// When answers may leave.
    var sync: SyncChoice
    /// Where the server stands.
    var dataCenter: String
    /// Where the server stands.
    var rack: String
    /// Addresses and networks that may write; empty is this machine, or all when insecure.
    var whiteList: [String]
    /// Whether everybody may write when there is no white list.
    var isInsecure: Bool
    /// Seconds a connection may stay idle.
    var idleSeconds: Int
    /// Event loops.
    var threads: Int
    /// Whether the master answers only health and cluster paths.
    var isHTTPDisabled: Bool

    /// A directory of volumes.
    struct Directory: Sendable, Equatable {
        /// Where it is.
        var path: String
        /// Most volumes it takes; 0 goes by the free space.
        var maxVolumes: Int
        /// `hdd`, `ssd` or a tag; empty for `hdd`.
        var diskType: String
    }

    /// Most directories of one server.
    static let directoryLimit = 64
    /// Most event loop threads.
    static let threadLimit = 256

    /// Checks the flags of `weed server`; the errors say which flag and what it takes.
    init(_ flags: ServerCommand) throws {
        let common = flags.common
        directoriesAreDefault = common.dir == nil
        directories = try ServerConfiguration.directories(common, flags.volume)
        indexDirectory = flags.volume.indexDirectory
        masterDirectory = flags.master.dir ?? directories[0].path
        address = try AdvertisedAddress.choose(flag: common.ip)
        bind = common.bind ?? address.host
        masterPorts = try (
            ServerConfiguration.port(flags.master.port, "master.port"),
            ServerConfiguration.grpcPort(
                flags.master.grpcPort, "master.port.grpc", beside: flags.master.port)
        )
        volumePorts = try (
            ServerConfiguration.port(flags.volume.port, "volume.port"),
            ServerConfiguration.grpcPort(
                flags.volume.grpcPort, "volume.port.grpc", beside: flags.volume.port),
            ServerConfiguration.port(flags.volume.publicPort, "volume.port.public")
        )
        publicURL = flags.volume.publicURL
        volumeSizeLimit = try ServerConfiguration.megabytes(
            flags.master.volumeSizeLimitMB, "master.volumeSizeLimitMB")
        fileSizeLimit = try ServerConfiguration.megabytes(
            flags.volume.fileSizeLimitMB, "volume.fileSizeLimitMB")
        do {
            defaultReplication = try ReplicaPlacement(parsing: flags.master.defaultReplication)
        } catch {
            throw ValidationError(
                "-master.defaultReplication: \(error.description); it is xyz, as in 001")
        }
        garbageThreshold = flags.master.garbageThreshold
        guard (0...1).contains(garbageThreshold) else {
            throw ValidationError(
                "-master.garbageThreshold=\(garbageThreshold) is not a share from 0 to 1")
        }
        guard (0...1_000_000).contains(flags.volume.compactionMBps) else {
            throw ValidationError("-volume.compactionMBps must be 0 (no limit) to 1000000")
        }
        compactionBytesPerSecond = flags.volume.compactionMBps << 20
        readMode = flags.volume.readMode
        sync = common.sync
        dataCenter = common.dataCenter
        rack = common.rack
        whiteList = ServerConfiguration.list(common.whiteList)
        isInsecure = common.insecure.isOn
        idleSeconds = common.idleTimeout
        guard (1...86_400).contains(idleSeconds) else {
            throw ValidationError(
                "-idleTimeout=\(idleSeconds) is not a number of seconds from 1 to 86400")
        }
        threads = common.threads ?? ServerConfiguration.processors
        guard (1...ServerConfiguration.threadLimit).contains(threads) else {
            throw ValidationError(
                "-threads=\(threads) is not from 1 to \(ServerConfiguration.threadLimit)")
        }
        isHTTPDisabled = common.disableHTTP.isOn
        try checkPeers(flags.master.peers)
        try checkPorts()
    }

    /// Processors this process may use.
    static var processors: Int { max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) }

    private static func directories(
        _ common: CommonFlags, _ volume: VolumeFlags
    ) throws -> [Directory] {
        let paths = common.dir.map(list) ?? [temporaryDirectory]
        guard (1...directoryLimit).contains(paths.count) else {
            throw ValidationError(
                "-dir names \(paths.count) directories; it takes 1 to \(directoryLimit)")
        }
        guard Set(paths).count == paths.count else {
            throw ValidationError(
                "-dir names a directory twice: \(paths.joined(separator: ","))")
        }
        let limits = try list(volume.max).map { text in
            guard let value = Int(text), (0...1_000_000).contains(value) else {
                throw ValidationError(
                    "-volume.max: \"\(text)\" is not a number of volumes, 0 or more")
            }
            return value
        }
        try checkCount(limits.count, "volume.max", paths.count)
        let types = list(volume.disk)
        if !types.isEmpty { try checkCount(types.count, "volume.disk", paths.count) }
        return paths.enumerated().map { index, path in
            Directory(
                path: path, maxVolumes: limits.count == 1 ? limits[0] : limits[index],
                diskType: types.isEmpty ? "" : types.count == 1 ? types[0] : types[index])
        }
    }

    private static func checkCount(_ count: Int, _ flag: String, _ directories: Int) throws {
        guard count == 1 || count == directories else {
            throw ValidationError(
                "-\(flag) has \(count) values for \(directories) directories: give one, or one each"
            )
        }
    }

    private static var temporaryDirectory: String {
        guard let value = unsafe getenv("TMPDIR") else { return "/tmp" }
        let path = unsafe String(cString: value)
        return path.isEmpty ? "/tmp" : path
    }

    private static func list(_ text: String) -> [String] {
        text.split(separator: ",").map { part in
            String(part.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
        }.filter { !$0.isEmpty }
    }

    private static func port(_ value: Int, _ flag: String) throws -> Int {
        guard (0...65_535).contains(value) else {
            throw ValidationError("-\(flag)=\(value) is not a port, 0 to 65535")
        }
        return value
    }

    private static func grpcPort(_ value: Int?, _ flag: String, beside http: Int) throws -> Int {
        if let value { return try port(value, flag) }
        return http == 0 ? 0 : http + 10_000
    }

    private static func megabytes(_ value: Int, _ flag: String) throws -> UInt64 {
        guard (1...8_000_000).contains(value) else {
            throw ValidationError("-\(flag)=\(value) is not a number of megabytes, 1 to 8000000")
        }
        return UInt64(value) << 20
    }

    private func checkPeers(_ peers: String) throws {
        let own = ["\(address.host):\(masterPorts.http)", "localhost:\(masterPorts.http)"]
        guard peers.isEmpty || peers == "none" || own.contains(peers) else {
            throw ValidationError(
                "-master.peers=\(peers): this version runs a single master; say -master.peers=none")
        }
    }

    private func checkPorts() throws {
        let used = [masterPorts.http, volumePorts.http, volumePorts.readOnly].filter { $0 != 0 }
        guard Set(used).count == used.count else {
            throw ValidationError(
                "two of -master.port, -volume.port and -volume.port.public are the same: \(used)")
        }
    }
}
