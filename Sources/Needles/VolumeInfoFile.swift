internal import FoundationEssentials
internal import Model
internal import Platform

/// The original's `.vif`: JSON beside the data file.
///
/// Unlike the original, whose parser stops at the first field it does not know, unknown fields are
/// skipped, and a file that is no JSON at all is treated as absent and left alone.
struct VolumeInfoFile: Decodable, Equatable {
    var version: Int?
    var replication: String?
    var bytesOffset: Int?
    var readOnly: Bool?
    var readOnlyCanDelete: Bool?
    var files: [RemoteFile]?

    /// A file in a remote tier; only its presence matters here.
    struct RemoteFile: Decodable, Equatable {}

    /// Reads `path`; `nil` when it is absent, empty or no JSON.
    init?(reading path: String, on disk: any Disk) {
        guard let bytes = try? disk.readFile(path), !bytes.isEmpty,
            let decoded = try? JSONDecoder().decode(
                VolumeInfoFile.self, from: Data(bytes))
        else { return nil }
        self = decoded
    }

    /// What a new volume's file says, as the original writes it.
    static let initial = Array(
        """
        {"files":[],"version":3,"replication":"","bytesOffset":5,"datFileSize":"0","expireAtSec":"0",\
        "readOnly":false,"ecShardConfig":null,"readOnlyCanDelete":false}
        """.utf8)
}
