/// What the Go original's `weed` takes and this one does not need or does not have.
///
/// A command line written for the original keeps working where that loses nothing; where it would, the
/// error says what to do instead.
enum ForeignFlags {
    /// A flag without effect.
    struct Ignored {
        /// Why it has none.
        let reason: String
        /// Whether it stands alone.
        var isSwitch = false
    }

    /// Flags of a command that are accepted and do nothing.
    static func ignored(_ command: String) -> [String: Ignored] {
        switch command {
        case "server": ignoredByServer
        case "master": ignoredByMaster
        case "volume": ignoredByVolume
        default: [:]
        }
    }

    /// Flags of a command that name something this program does not have.
    static func refused(_ command: String) -> [String: String] {
        switch command {
        case "server": refusedByServer
        case "master": refusedByMaster
        case "volume": refusedByVolume
        default: [:]
        }
    }

    private static let ignoredByMaster: [String: Ignored] = [
        "telemetry": Ignored(reason: "nothing is ever sent anywhere", isSwitch: true),
        "telemetry.url": Ignored(reason: "nothing is ever sent anywhere"),
        "metrics.address": Ignored(reason: "nothing is ever sent anywhere"),
        "metrics.intervalSeconds": Ignored(reason: "nothing is ever sent anywhere"),
        "resumeState": Ignored(reason: "the master always resumes", isSwitch: true),
        "raftHashicorp": Ignored(reason: "there is one implementation", isSwitch: true),
        "raftBootstrap": Ignored(reason: "a new directory bootstraps itself", isSwitch: true),
        "volumePreallocate": Ignored(reason: "space is taken as needed", isSwitch: true),
        "electionTimeout": Ignored(reason: "a single master holds no elections"),
        "heartbeatInterval": Ignored(reason: "a single master has no followers"),
        "maxParallelVacuumPerServer": Ignored(reason: "one volume is compacted at a time"),
        "pulseSeconds": Ignored(reason: "volume servers say when they report"),
        "fileSizeLimitMB": Ignored(reason: "volume servers say how large a file may be"),
    ]

    private static let ignoredByVolume: [String: Ignored] = [
        "pulseSeconds": Ignored(reason: "a report is sent at every change, and every 5 s"),
        "index": Ignored(reason: "the index is always on disk and small in memory"),
        "index.leveldbTimeout": Ignored(reason: "the index is always on disk and small in memory"),
        "hasSlowRead": Ignored(reason: "slow reads never block others", isSwitch: true),
        "readBufferSizeMB": Ignored(reason: "bodies are streamed in bounded pieces"),
        "concurrentUploadLimitMB": Ignored(reason: "bodies are streamed in bounded pieces"),
        "concurrentDownloadLimitMB": Ignored(reason: "bodies are streamed in bounded pieces"),
        "inflightUploadDataTimeout": Ignored(reason: "bodies are streamed in bounded pieces"),
        "inflightDownloadDataTimeout": Ignored(reason: "bodies are streamed in bounded pieces"),
        "maintenanceMBps": Ignored(reason: "-compactionMBps is the limit there is"),
        "tags": Ignored(reason: "volumes are placed by disk type alone"),
        "volume.allowUntrustedRemoteEndpoints": Ignored(
            reason: "files are never fetched from elsewhere", isSwitch: true),
    ]

    private static let ignoredByServer: [String: Ignored] = {
        var flags: [String: Ignored] = [:]
        for (name, flag) in ignoredByMaster { flags["master.\(name)"] = flag }
        for (name, flag) in ignoredByVolume {
            flags[name.hasPrefix("volume.") ? name : "volume.\(name)"] = flag
        }
        return flags
    }()

    private static let refusedByMaster: [String: String] = [
        "metricsPort": "this server has no metrics port"
    ]

    private static let refusedByVolume: [String: String] = [
        "images.fix.orientation": "this server does not change images",
        "metricsPort": "this server has no metrics port",
    ]

    private static let refusedByServer: [String: String] = [
        "filer": "this server has no filer",
        "s3": "this server has no S3 gateway",
        "webdav": "this server has no WebDAV gateway",
        "sftp": "this server has no SFTP gateway",
        "iam": "this server has no IAM service",
        "mq.broker": "this server has no message broker",
        "volume.images.fix.orientation": "this server does not change images",
        "metricsPort": "this server has no metrics port",
    ]

    /// Commands of the original that do not exist here.
    static let commands: [String: String] = [
        "filer": "there is no filer here",
        "s3": "there is no S3 gateway here",
        "mount": "there is no mount here",
        "fix": "an index is rebuilt by itself at start; `weed index verify` checks one",
        "export": "use `weed index export`",
        "shell": "use the master's HTTP paths, such as /vol/vacuum and /vol/grow",
    ]
}
