import RPC

/// What a start found and did, for the lines it prints; parts that did not start are `nil`.
struct StartFacts: Sendable {
    /// What the process was told.
    var process: ProcessSettings
    /// The master, and the ports it listens on.
    var master: (settings: MasterSettings, ports: Ports)?
    /// The volume server, and the ports it listens on.
    var volume: (settings: VolumeSettings, ports: Ports)?
    /// Seconds that recovery of the volumes took.
    var recoverySeconds: Double = 0
    /// How many volumes there are.
    var volumeCount: Int = 0
    /// What recovery had to say, one line each.
    var recoveryLines: [String] = []

    /// Ports a server listens on.
    struct Ports: Sendable {
        /// For HTTP.
        var http: Int
        /// For gRPC.
        var grpc: Int

        /// Whether others find the gRPC port without being told.
        var areUsual: Bool { grpc == http + PeerAddress.grpcOffset }
    }
}

/// The lines a server prints when it is ready.
struct StartReport {
    /// The lines, without line ends.
    private(set) var lines: [String] = []

    /// The report of a start that took `took`.
    init(_ facts: StartFacts, took: Duration) {
        let host = facts.process.address.host
        lines.append(
            "weed \(Version.text) (\(Version.platform)): ready after \(StartReport.seconds(took))")
        if let master = facts.master { add("master", host, master.ports) }
        if let volume = facts.volume { add("volume server", host, volume.ports) }
        add("address", "\(host): \(facts.process.address.reason)")
        add("listening on", facts.process.bind)
        if facts.master == nil, let volume = facts.volume {
            add("masters", volume.settings.masters.addresses.joined(separator: ", "))
        }
        if let volume = facts.volume { addData(volume.settings) }
        if let master = facts.master,
            master.settings.directory != facts.volume?.settings.directories.first?.path
        {
            add("master state", master.settings.directory)
        }
        if let volume = facts.volume { addRecovery(volume.settings, facts) }
        if let master = facts.master, facts.volume != nil {
            let listensOnAll = ["0.0.0.0", "::", ""].contains(facts.process.bind)
            let curlHost = listensOnAll ? host : facts.process.bind
            let submit = "http://\(curlHost):\(master.ports.http)/submit"
            lines.append("try it: curl -F file=@/etc/hostname \(submit)")
        }
    }

    private mutating func add(_ name: String, _ host: String, _ ports: StartFacts.Ports) {
        add(name, "http://\(host):\(ports.http)")
        if !ports.areUsual {
            add("", "gRPC on port \(ports.grpc): \(host):\(ports.http).\(ports.grpc)")
        }
    }

    private mutating func add(_ name: String, _ text: String) {
        let blanks = String(repeating: " ", count: max(1, 15 - name.count))
        lines.append("  \(name)\(blanks)\(text)")
    }

    private mutating func addData(_ settings: VolumeSettings) {
        add("data", settings.directories.map(\.path).joined(separator: ", "))
        if settings.directoriesAreDefault {
            add("", "no -dir was given: the system may empty this directory")
        }
    }

    private mutating func addRecovery(_ settings: VolumeSettings, _ facts: StartFacts) {
        add("sync", "\(settings.sync): \(settings.sync.meaning)")
        let volumes = facts.volumeCount == 1 ? "1 volume" : "\(facts.volumeCount) volumes"
        add("recovery", "\(volumes) in \(StartReport.seconds(.seconds(facts.recoverySeconds)))")
        for line in facts.recoveryLines { add("", line) }
    }

    /// A duration as people read it: `0.8 ms`, `35 ms`, `1.25 s`.
    static func seconds(_ duration: Duration) -> String {
        let (whole, attoseconds) = duration.components
        let microseconds = whole * 1_000_000 + attoseconds / 1_000_000_000_000
        if microseconds < 10_000 { return "\(Double(microseconds / 100) / 10) ms" }
        if microseconds < 1_000_000 { return "\(microseconds / 1000) ms" }
        return "\(Double(microseconds / 10_000) / 100) s"
    }
}
