import ArgumentParser

/// `weed server`: a master and a volume server in one process.
struct ServerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "server",
        abstract: "Start a blob store on this machine: master and volume server in one process.",
        discussion: """
            weed server -dir=./data -ip=127.0.0.1

            Volume servers of other machines may join: weed volume -master=<this machine>:9333. \
            The first SIGTERM or SIGINT stops it gracefully, a second one at once.
            """)

    @OptionGroup(title: "Common flags") var process: ProcessFlags
    @OptionGroup(title: "Common flags") var store: StoreFlags
    @OptionGroup(title: "Master flags") var master: MasterFlags
    @OptionGroup(title: "Volume server flags") var volume: VolumeFlags

    mutating func validate() throws {
        _ = try ServerConfiguration(self)
    }

    func run() throws {
        let configuration = try ServerConfiguration(self)
        LineLogHandler.install(verbosity: process.verbosity)
        try ServerProcess(threads: configuration.process.threads) { context in
            try await ComposedServer.start(configuration, context)
        }.runUntilStopped()
    }
}

/// Flags of the master in `weed server`.
struct MasterFlags: ParsableArguments, MasterFlagValues {
    static let prefix = "master."

    @Option(name: .go("master.port"), help: "The master's HTTP port; 0 picks a free one.")
    var port = 9333

    @Option(name: .go("master.port.grpc"), help: "The master's gRPC port. Default: port + 10000.")
    var grpcPort: Int?

    @Option(
        name: .go("master.dir", "mdir"),
        help: "Directory of the master's state. Default: the first -dir.")
    var dir: String?

    @Option(
        name: .go("master.volumeSizeLimitMB"),
        help: "Megabytes above which a volume takes no new files.")
    var volumeSizeLimitMB = 30720

    @Option(
        name: .go("master.defaultReplication"),
        help: "Copies of a file when the request does not say: xyz, 000 is one copy.")
    var defaultReplication = ""

    @Option(
        name: .go("master.garbageThreshold", "garbageThreshold"),
        help: "The share of deleted bytes, 0 to 1, from which a volume is compacted.")
    var garbageThreshold = 0.3

    @Option(
        name: .go("master.peers"),
        help:
            "All masters of the cluster; this server is a single one: \"none\", or its own address."
    )
    var peers = ""

    @Option(
        name: .go("master.vacuumIntervalSeconds"),
        help: "Seconds between two looks for volumes to compact; 0 is never.")
    var vacuumIntervalSeconds = 840

    @Option(
        name: .go("disableHttp"), help: "Answer only health and cluster paths on the master.")
    var disableHTTP = Switch(false)

    var isHTTPDisabled: Bool { disableHTTP.isOn }
}

/// Flags of the volume server in `weed server`.
struct VolumeFlags: ParsableArguments, VolumeFlagValues {
    static let prefix = "volume."

    @Option(name: .go("volume.port"), help: "The volume server's HTTP port; 0 picks a free one.")
    var port = 8080

    @Option(
        name: .go("volume.port.grpc"),
        help: "The volume server's gRPC port. Default: port + 10000.")
    var grpcPort: Int?

    @Option(
        name: .go("volume.port.public"),
        help: "A second port for reads only. Default: none.")
    var publicPort = 0

    @Option(
        name: .go("volume.publicUrl"),
        help: "host:port as clients reach it. Default: the address and port.")
    var publicURL: String?

    @Option(
        name: .go("volume.id"), help: "The volume server's name in the cluster. Default: address.")
    var id: String?

    @Option(
        name: .go("volume.max"),
        help: "Most volumes per directory, separated by commas; 0 goes by the free space.")
    var max = "8"

    @Option(
        name: .go("volume.dir.idx"),
        help: "A separate directory for indexes. Default: beside the data files.")
    var indexDirectory: String?

    @Option(
        name: .go("volume.disk"), help: "Disk types per directory, separated by commas: hdd, ssd.")
    var disk = ""

    @Option(
        name: .go("volume.readMode"),
        help: "What to do with reads of volumes elsewhere: local, proxy or redirect.")
    var readMode = ReadModeChoice.proxy

    @Option(name: .go("volume.fileSizeLimitMB"), help: "Largest file taken, in megabytes.")
    var fileSizeLimitMB = 256

    @Option(
        name: .go("volume.compactionMBps"),
        help: "Megabytes a second that compaction may copy; 0 is no limit.")
    var compactionMBps = 0

    @Option(
        name: .go("volume.preStopSeconds"),
        help: "Seconds to go on serving after leaving the cluster. Default: 0, it is one process.")
    var preStopSeconds = 0

    @Option(
        name: .go("volume.minFreeSpace"),
        help: "Free space below which a directory takes no new volumes: percent, or 10GiB.")
    var minFreeSpace: FreeSpaceChoice?

    @Option(name: .go("volume.minFreeSpacePercent"), help: "The same in percent.")
    var minFreeSpacePercent: FreeSpaceChoice?
}
