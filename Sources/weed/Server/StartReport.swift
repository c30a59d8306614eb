/// What a start found and did, for the lines it prints.
struct StartFacts: Sendable {
    /// Where the master listens.
    var masterPort: Int
    /// Where the volume server listens.
    var volumePort: Int
    /// Seconds that recovery of the volumes took.
    var recoverySeconds: Double
    /// How many volumes there are.
    var volumeCount: Int
    /// What recovery had to say, one line each.
    var recoveryLines: [String]
}

/// The lines `weed server` prints when it is ready.
struct StartReport {
    /// The lines, without line ends.
    let lines: [String]

    /// The report of a start that took `took`.
    init(_ configuration: ServerConfiguration, _ facts: StartFacts, took: Duration) {
        let host = configuration.address.host
        let directories = configuration.directories.map(\.path).joined(separator: ", ")
        var lines = [
            "weed \(Version.text) (\(Version.platform)): ready after \(StartReport.seconds(took))",
            "  master         http://\(host):\(facts.masterPort)",
            "  volume server  http://\(host):\(facts.volumePort)",
            "  address        \(host): \(configuration.address.reason)",
            "  listening on   \(configuration.bind)",
            "  data           \(directories)",
        ]
        if configuration.directoriesAreDefault {
            lines.append("                 no -dir was given: the system may empty this directory")
        }
        if configuration.masterDirectory != configuration.directories[0].path {
            lines.append("  master state   \(configuration.masterDirectory)")
        }
        lines.append("  sync           \(configuration.sync): \(configuration.sync.meaning)")
        let volumes = facts.volumeCount == 1 ? "1 volume" : "\(facts.volumeCount) volumes"
        lines.append(
            "  recovery       \(volumes) in \(StartReport.seconds(.seconds(facts.recoverySeconds)))"
        )
        for line in facts.recoveryLines { lines.append("                 \(line)") }
        let listensOnAll = ["0.0.0.0", "::", ""].contains(configuration.bind)
        let curlHost = listensOnAll ? host : configuration.bind
        let submit = "http://\(curlHost):\(facts.masterPort)/submit"
        lines.append("try it: curl -F file=@/etc/hostname \(submit)")
        self.lines = lines
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
