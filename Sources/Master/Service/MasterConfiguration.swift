public import Model

/// How a master runs.
public struct MasterConfiguration: Sendable {
    /// Address to listen on.
    public var host = "0.0.0.0"
    /// Port to listen on; 0 picks a free one.
    public var port = 9333
    /// `host` that others reach this master at, without a port.
    public var advertisedHost = "127.0.0.1"
    /// Port of its gRPC service, shown to clients; 0 is `port` + 10000.
    public var grpcPort = 0
    /// Directory of the master's state; made when missing.
    public var directory: String
    /// Size from which on a volume takes no new files, in MiB.
    public var volumeSizeLimitMB: UInt64 = 30 << 10
    /// Where copies go when a request does not say.
    public var defaultReplication = ReplicaPlacement.single
    /// Share of garbage from which on a volume is vacuumed, 0 to 1.
    public var garbageThreshold = 0.3
    /// Seconds between two looks for garbage; 0 switches them off.
    public var vacuumIntervalSeconds = 15 * 60
    /// Seconds after a start in which volume servers may still be missing.
    ///
    /// In this time a look-up miss is answered 503 and no volumes are made for layouts without one.
    /// It ends as soon as every server that was connected before has reported.
    public var warmUpSeconds = 15
    /// Addresses and networks that may use the guarded paths; empty for the rule of ``isInsecure``.
    public var whiteList: [String] = []
    /// Whether everybody may use the guarded paths when there is no white list.
    ///
    /// Otherwise only this machine may.
    public var isInsecure = false
    /// Answers only status pages and health checks.
    public var disableHTTP = false
    /// What `Version` fields say.
    public var version = "4.48"
    /// Seed of the choice among volumes and servers; `nil` takes one from the system.
    ///
    /// Cookies never depend on it.
    public var seed: UInt64?

    /// The defaults, with the state in `directory`.
    public init(directory: String) { self.directory = directory }

    /// Bytes from which on a volume takes no new files.
    public var volumeSizeLimit: UInt64 {
        volumeSizeLimitMB.multipliedReportingOverflow(by: 1 << 20).overflow
            ? .max : volumeSizeLimitMB << 20
    }
}
