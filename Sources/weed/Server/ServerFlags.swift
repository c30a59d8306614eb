import ArgumentParser

/// Flags of every server.
struct ProcessFlags: ParsableArguments {
    @Option(
        name: .go("ip"),
        help: """
            The address told to clients. Default: the first IPv4 address that is not loopback, \
            else 127.0.0.1.
            """)
    var ip: String?

    @Option(name: .go("ip.bind"), help: "The address to listen on. Default: the value of -ip.")
    var bind: String?

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

    @Option(name: .go("threads"), help: "Event loop threads. Default: one per processor core.")
    var threads: Int?

    @Option(name: .customShort("v"), help: "How much to log: 0, 1 or 2.")
    var verbosity = 0
}

/// Flags of everything that keeps volumes.
struct StoreFlags: ParsableArguments {
    @Option(
        name: .go("dir"),
        help: "Directories for volumes, separated by commas. Default: the temporary directory.")
    var dir: String?

    @Option(name: .go("dataCenter"), help: "The data center this server stands in.")
    var dataCenter = ""

    @Option(name: .go("rack"), help: "The rack this server stands in.")
    var rack = ""

    @Option(name: .go("idleTimeout"), help: "Seconds a connection may stay idle.")
    var idleTimeout = 30

    @Option(
        name: .go("sync"),
        help: """
            When an answer to a write may leave: "always" (on disk first), "interval:<ms>" \
            (on disk within that time), "none" (the system decides).
            """)
    var sync = SyncChoice.always
}

/// What a master is told on a command line, whatever the flags are called.
protocol MasterFlagValues {
    /// What stands before the names of the flags, `master.` or nothing.
    static var prefix: String { get }
    var port: Int { get }
    var grpcPort: Int? { get }
    var dir: String? { get }
    var volumeSizeLimitMB: Int { get }
    var defaultReplication: String { get }
    var garbageThreshold: Double { get }
    var peers: String { get }
    var vacuumIntervalSeconds: Int { get }
    var isHTTPDisabled: Bool { get }
}

/// What a volume server is told on a command line, whatever the flags are called.
protocol VolumeFlagValues {
    /// What stands before the names of the flags, `volume.` or nothing.
    static var prefix: String { get }
    var port: Int { get }
    var grpcPort: Int? { get }
    var publicPort: Int { get }
    var publicURL: String? { get }
    var id: String? { get }
    var max: String { get }
    var indexDirectory: String? { get }
    var disk: String { get }
    var readMode: ReadModeChoice { get }
    var fileSizeLimitMB: Int { get }
    var compactionMBps: Int { get }
    var preStopSeconds: Int { get }
    var minFreeSpace: FreeSpaceChoice? { get }
    var minFreeSpacePercent: FreeSpaceChoice? { get }
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

/// The free space below which a directory takes nothing more, as the Go original writes it: a number
/// up to 100 is percent, anything else bytes, `10GiB`.
enum FreeSpaceChoice: Sendable, Equatable, ExpressibleByArgument {
    /// A share of the disk.
    case percent(Double)
    /// A number of bytes.
    case bytes(UInt64)

    init?(argument: String) {
        let number = argument.prefix { $0.isNumber || $0 == "." }
        let unit = argument.dropFirst(number.count).drop { $0 == " " }.lowercased()
        guard let value = Double(number), value.isFinite, value >= 0 else { return nil }
        if unit.isEmpty, value <= 100 {
            self = .percent(value)
            return
        }
        let exponents: [Character: Int] = ["k": 1, "m": 2, "g": 3, "t": 4, "p": 5]
        var bytes = value
        if !["", "b"].contains(unit) {
            guard let first = unit.first, let exponent = exponents[first],
                ["", "b", "i", "ib"].contains(unit.dropFirst())
            else { return nil }
            let base: Double = unit.dropFirst().hasPrefix("i") ? 1024 : 1000
            for _ in 0..<exponent { bytes *= base }
        }
        guard let whole = UInt64(exactly: bytes.rounded()) else { return nil }
        self = .bytes(whole)
    }
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
