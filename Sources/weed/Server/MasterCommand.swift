import ArgumentParser

/// `weed master`: a master in a process of its own.
struct MasterCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "master",
        abstract: "Start a master: it gives out file ids and knows where volumes are.",
        discussion: """
            weed master -ip=10.0.0.1 -mdir=./master

            Volume servers join it with weed volume -master=10.0.0.1:9333. \
            The first SIGTERM or SIGINT stops it gracefully, a second one at once.
            """)

    @OptionGroup var process: ProcessFlags
    @OptionGroup var flags: Flags

    /// The flags of `weed master` alone.
    struct Flags: ParsableArguments, MasterFlagValues {
        static let prefix = ""

        @Option(name: .go("port"), help: "The HTTP port; 0 picks a free one.")
        var port = 9333

        @Option(name: .go("port.grpc"), help: "The gRPC port. Default: port + 10000.")
        var grpcPort: Int?

        @Option(
            name: .go("mdir"),
            help: "Directory of the master's state. Default: the temporary directory.")
        var dir: String?

        @Option(
            name: .go("volumeSizeLimitMB"),
            help: "Megabytes above which a volume takes no new files.")
        var volumeSizeLimitMB = 30720

        @Option(
            name: .go("defaultReplication"),
            help: "Copies of a file when the request does not say: xyz, 000 is one copy.")
        var defaultReplication = ""

        @Option(
            name: .go("garbageThreshold"),
            help: "The share of deleted bytes, 0 to 1, from which a volume is compacted.")
        var garbageThreshold = 0.3

        @Option(
            name: .go("peers"),
            help: "All masters of the cluster; this is a single one: \"none\", or its own address.")
        var peers = ""

        @Option(
            name: .go("vacuumIntervalSeconds"),
            help: "Seconds between two looks for volumes to compact; 0 is never.")
        var vacuumIntervalSeconds = 840

        @Option(name: .go("disableHttp"), help: "Answer only health and cluster paths.")
        var disableHTTP = Switch(false)

        var isHTTPDisabled: Bool { disableHTTP.isOn }
    }

    mutating func validate() throws { _ = try settings() }

    /// The flags, checked.
    func settings() throws -> (ProcessSettings, MasterSettings) {
        let process = try ProcessSettings(process, idleTimeout: 30)
        let directory = flags.dir ?? Checked.temporaryDirectory
        return (process, try MasterSettings(flags, process, directory: directory))
    }

    func run() throws {
        let (settings, master) = try settings()
        LineLogHandler.install(verbosity: process.verbosity)
        try ServerProcess(threads: settings.threads) { context in
            try await ComposedServer.start(master, settings, context)
        }.runUntilStopped()
    }
}
