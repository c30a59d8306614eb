import ArgumentParser
import Glibc

/// `weed server`: a master and a volume server in one process.
struct ServerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "server",
        abstract: "Start a blob store on this machine: master and volume server in one process.",
        discussion: """
            weed server -dir=./data -ip=127.0.0.1

            The first SIGTERM or SIGINT stops it gracefully, a second one at once.
            """)

    @OptionGroup(title: "Common flags") var common: CommonFlags
    @OptionGroup(title: "Master flags") var master: MasterFlags
    @OptionGroup(title: "Volume server flags") var volume: VolumeFlags

    mutating func validate() throws {
        _ = try ServerConfiguration(self)
    }

    func run() throws {
        let configuration = try ServerConfiguration(self)
        LineLogHandler.install(verbosity: common.verbosity)
        try ServerProcess(configuration).runUntilStopped()
    }
}

/// Flags of both servers.
struct CommonFlags: ParsableArguments {
    @Option(
        name: .go("dir"),
        help: "Directories for volumes, separated by commas. Default: the temporary directory.")
    var dir: String?

    @Option(
        name: .go("ip"),
        help: """
            The address told to clients. Default: the first IPv4 address that is not loopback, \
            else 127.0.0.1.
            """)
    var ip: String?

    @Option(name: .go("ip.bind"), help: "The address to listen on. Default: the value of -ip.")
    var bind: String?

    @Option(name: .go("dataCenter"), help: "The data center this server stands in.")
    var dataCenter = ""

    @Option(name: .go("rack"), help: "The rack this server stands in.")
    var rack = ""

    @Option(
        name: .go("whiteList"),
        help:
            "Addresses and networks (CIDR), separated by commas, that may write. Default: this machine."
    )
    var whiteList = ""

    @Option(
        name: .go("insecure"),
        help: "Let everybody write when there is no white list. Default: this machine only.")
    var insecure = Switch(false)

    @Option(name: .go("idleTimeout"), help: "Seconds a connection may stay idle.")
    var idleTimeout = 30

    @Option(
        name: .go("sync"),
        help: """
            When an answer to a write may leave: "always" (on disk first), "interval:<ms>" \
            (on disk within that time), "none" (the system decides).
            """)
    var sync = SyncChoice.always

    @Option(name: .go("threads"), help: "Event loop threads. Default: one per processor core.")
    var threads: Int?

    @Option(
        name: .go("disableHttp"), help: "Answer only health and cluster paths on the master.")
    var disableHTTP = Switch(false)

    @Option(
        name: .customShort("v"),
        help: "How much to log: 0, 1 or 2.")
    var verbosity = 0
}

/// Flags of the master.
struct MasterFlags: ParsableArguments {
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
}

/// Flags of the volume server.
struct VolumeFlags: ParsableArguments {
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
}

/// When an answer to a write may leave.
enum SyncChoice: Sendable, Equatable, ExpressibleByArgument, CustomStringConvertible {
    /// After the bytes are on disk.
    case always
    /// At once; the bytes are on disk within so many milliseconds.
    case interval(milliseconds: Int)
    /// At once; the system writes when it likes.
    case none

    init?(argument: String) {
        switch argument {
        case "always": self = .always
        case "none": self = .none
        default:
            guard argument.hasPrefix("interval:"), let value = Int(argument.dropFirst(9)),
                (1...3_600_000).contains(value)
            else { return nil }
            self = .interval(milliseconds: value)
        }
    }

    static var allValueStrings: [String] { ["always", "interval:<ms>", "none"] }

    var defaultValueDescription: String { description }

    var description: String {
        switch self {
        case .always: "always"
        case .interval(let milliseconds): "interval:\(milliseconds)"
        case .none: "none"
        }
    }

    /// What it means for who uploads a file.
    var meaning: String {
        switch self {
        case .always: "an answered write is on disk"
        case .interval(let milliseconds):
            "a power cut may take the last \(milliseconds) ms of answered writes"
        case .none: "a power cut may take answered writes of the last half minute"
        }
    }
}

/// What happens to reads of volumes that are elsewhere.
enum ReadModeChoice: String, Sendable, ExpressibleByArgument, CaseIterable {
    case local, proxy, redirect
}

/// A value of a switch, in the spellings the Go original takes.
struct Switch: Sendable, ExpressibleByArgument {
    /// On or off.
    let isOn: Bool

    /// A value.
    init(_ isOn: Bool) { self.isOn = isOn }

    init?(argument: String) {
        switch argument {
        case "1", "t", "T", "true", "TRUE", "True": isOn = true
        case "0", "f", "F", "false", "FALSE", "False": isOn = false
        default: return nil
        }
    }

    var defaultValueDescription: String { isOn ? "true" : "false" }
}

extension NameSpecification {
    /// Names as the Go original writes them, with one dash.
    static func go(_ names: String...) -> NameSpecification {
        NameSpecification(names.map { .customLong($0, withSingleDash: true) })
    }
}
