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

    /// Flags of `weed server` that are accepted and do nothing.
    static let ignored: [String: Ignored] = [
        "master.telemetry": Ignored(reason: "nothing is ever sent anywhere", isSwitch: true),
        "master.telemetry.url": Ignored(reason: "nothing is ever sent anywhere"),
        "master.resumeState": Ignored(reason: "the master always resumes", isSwitch: true),
        "master.raftHashicorp": Ignored(reason: "there is one implementation", isSwitch: true),
        "master.raftBootstrap": Ignored(
            reason: "a new directory bootstraps itself", isSwitch: true),
        "master.volumePreallocate": Ignored(reason: "space is taken as needed", isSwitch: true),
        "master.electionTimeout": Ignored(reason: "a single master holds no elections"),
        "master.heartbeatInterval": Ignored(reason: "a single master has no followers"),
        "volume.index": Ignored(reason: "the index is always on disk and small in memory"),
        "volume.hasSlowRead": Ignored(reason: "slow reads never block others", isSwitch: true),
        "volume.readBufferSizeMB": Ignored(reason: "bodies are streamed in bounded pieces"),
        "volume.preStopSeconds": Ignored(reason: "a stop waits for the requests under way"),
    ]

    /// Flags of `weed server` that name something this server does not have.
    static let refused: [String: String] = [
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
        "master": "run `weed server`: master and volume server in one process",
        "volume": "run `weed server`: master and volume server in one process",
        "filer": "there is no filer here",
        "s3": "there is no S3 gateway here",
        "mount": "there is no mount here",
        "fix": "an index is rebuilt by itself at start; `weed index verify` checks one",
        "export": "use `weed index export`",
        "upload": "use `curl -F file=@<name> http://<master>:9333/submit`",
        "download": "use `curl -O http://<volume server>:8080/<fid>`",
        "shell": "use the master's HTTP paths, such as /vol/vacuum and /vol/grow",
    ]
}
