public import HTTPServer
public import Needles

/// What a volume server does with a read of a volume it does not hold.
public enum MissingVolumeMode: String, Sendable, CaseIterable {
    /// Answers 404.
    case local
    /// Fetches the file from a server that holds the volume and passes it on.
    case proxy
    /// Sends the client to a server that holds the volume.
    case redirect
}

/// Everything a volume server is told at start.
public struct VolumeConfiguration: Sendable {
    /// Address to listen on.
    public var bindHost = "127.0.0.1"
    /// Port to listen on; 0 picks a free one.
    public var port = 8080
    /// Port that only answers reads; `nil` for none.
    public var publicPort: Int?
    /// Host by which peers reach this server.
    public var ip = "127.0.0.1"
    /// `host:port` by which clients reach this server; empty for `ip` and the (public) port.
    public var publicURL = ""
    /// Port of the gRPC service, as reported to masters; 0 for the port + 10000.
    public var grpcPort = 0
    /// Where the server stands; empty for the default.
    public var dataCenter = ""
    /// Where the server stands; empty for the default.
    public var rack = ""
    /// Bytes of one file, as received; larger uploads are refused.
    public var fileSizeLimit: UInt64 = 256 << 20
    /// What happens to reads of volumes that are elsewhere.
    public var readMode = MissingVolumeMode.proxy
    /// Addresses and networks (`10.0.0.0/8`) that may write and delete; empty for the rule of
    /// ``isInsecure``.
    public var whiteList: [String] = []
    /// Whether everybody may write and delete when there is neither a white list nor a signing
    /// key.
    ///
    /// Otherwise only this machine may.
    public var isInsecure = false
    /// Key of the tokens that writes and deletes must show; empty for none.
    public var signingKey: [UInt8] = []
    /// Key of the tokens that reads must show; empty for none.
    public var readSigningKey: [UInt8] = []
    /// Whether the status page is shown although there is a signing key.
    public var showsPagesWithKey = false
    /// Addresses of the masters, for messages and pages.
    public var masters: [String] = []
    /// Seconds between reports to the master.
    public var pulseSeconds = 5
    /// Seconds between looks for files whose copies on other servers may differ.
    public var mendSeconds = 1.0
    /// The version that headers and pages tell.
    public var version = "0.1"
    /// Threads that may wait for the disk on behalf of reads and uploads.
    public var diskThreads = 8
    /// Bounds on what clients can make the server do.
    public var limits = Limits()
    /// Where the volumes are.
    public var store: StoreConfiguration

    /// The defaults, for volumes in the directories of `store`.
    public init(store: StoreConfiguration) {
        self.store = store
        // clients that read only after they have sent everything still get to see why it was too
        // large
        limits.drainBytes = 1 << 30
    }
}
