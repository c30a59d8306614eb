import ArgumentParser

/// `weed volume`: a volume server in a process of its own.
struct VolumeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "volume",
        abstract: "Start a volume server: it keeps files in volumes and joins a master.",
        discussion: """
            weed volume -dir=/disk1,/disk2 -max=100,0 -master=10.0.0.1:9333 -rack=r1

            The first SIGTERM or SIGINT leaves the cluster, serves -preStopSeconds longer, and stops; \
            a second one stops at once.
            """)

    @OptionGroup var process: ProcessFlags
    @OptionGroup var store: StoreFlags
    @OptionGroup var flags: Flags

    /// The flags of `weed volume` alone.
    struct Flags: ParsableArguments, VolumeFlagValues {
        static let prefix = ""

        @Option(
            name: .go("master", "mserver"),
            help: "host:port of the masters, separated by commas.")
        var master = MasterList.standard

        @Option(name: .go("port"), help: "The HTTP port; 0 picks a free one.")
        var port = 8080

        @Option(name: .go("port.grpc"), help: "The gRPC port. Default: port + 10000.")
        var grpcPort: Int?

        @Option(name: .go("port.public"), help: "A second port for reads only. Default: none.")
        var publicPort = 0

        @Option(
            name: .go("publicUrl"),
            help: "host:port as clients reach it. Default: the address and port.")
        var publicURL: String?

        @Option(
            name: .go("id"), help: "The server's name in the cluster. Default: address and port.")
        var id: String?

        @Option(
            name: .go("max"),
            help: "Most volumes per directory, separated by commas; 0 goes by the free space.")
        var max = "8"

        @Option(
            name: .go("dir.idx"),
            help: "A separate directory for indexes. Default: beside the data files.")
        var indexDirectory: String?

        @Option(
            name: .go("disk"), help: "Disk types per directory, separated by commas: hdd, ssd.")
        var disk = ""

        @Option(
            name: .go("readMode"),
            help: "What to do with reads of volumes elsewhere: local, proxy or redirect.")
        var readMode = ReadModeChoice.proxy

        @Option(name: .go("fileSizeLimitMB"), help: "Largest file taken, in megabytes.")
        var fileSizeLimitMB = 256

        @Option(
            name: .go("compactionMBps"),
            help: "Megabytes a second that compaction may copy; 0 is no limit.")
        var compactionMBps = 0

        @Option(
            name: .go("preStopSeconds"),
            help: "Seconds to go on serving after leaving the cluster.")
        var preStopSeconds = 10

        @Option(
            name: .go("minFreeSpace"),
            help: "Free space below which a directory takes no new volumes: percent, or 10GiB."
        )
        var minFreeSpace: FreeSpaceChoice?

        @Option(name: .go("minFreeSpacePercent"), help: "The same in percent.")
        var minFreeSpacePercent: FreeSpaceChoice?
    }

    mutating func validate() throws { _ = try settings() }

    /// The flags, checked.
    func settings() throws -> (ProcessSettings, VolumeSettings) {
        let process = try ProcessSettings(process, idleTimeout: store.idleTimeout)
        return (process, try VolumeSettings(flags, store, masters: flags.master))
    }

    func run() throws {
        let (settings, volume) = try settings()
        LineLogHandler.install(verbosity: process.verbosity)
        try ServerProcess(threads: settings.threads) { context in
            try await ComposedServer.start(volume, settings, context)
        }.runUntilStopped()
    }
}
