import FoundationEssentials

/// What the manifest of a golden directory says; see `Tests/Fixtures/golden/README.md`.
public struct GoldenManifest: Decodable, Sendable {
    /// One answer of the server.
    public struct Answer: Decodable, Sendable {
        /// The status code.
        public var status: Int
        /// SHA-256 of the body.
        public var sha256: String?
        /// Header fields.
        public var headers: [String: String]?
    }

    /// One file id.
    public struct Entry: Decodable, Sendable {
        /// Volume, comma, key and cookie.
        public var fid: String
        /// The key, hex.
        public var needleID: String
        /// The cookie, hex.
        public var cookie: String
        /// `live`, `deleted`, `absent`, `expired` or `unreadable`.
        public var state: String
        /// SHA-256 of the body of a plain GET.
        public var sha256: String?
        /// When its time to live is over.
        public var expiresAtUnix: Int?
        /// The answers by kind of request.
        public var http: [String: Answer]

        enum CodingKeys: String, CodingKey {
            case fid, cookie, state, sha256, http
            case needleID = "needle_id"
            case expiresAtUnix = "expires_at_unix"
        }
    }

    /// One record of a data file.
    public struct Record: Decodable, Sendable {
        /// Where it starts.
        public var offset: Int
        /// The key, hex.
        public var id: String
        /// The field S.
        public var size: Int
        /// SHA-256 of the stored data.
        public var storedDataSHA256: String?

        enum CodingKeys: String, CodingKey {
            case offset, id, size
            case storedDataSHA256 = "stored_data_sha256"
        }
    }

    /// One volume.
    public struct Volume: Decodable, Sendable {
        /// Its number.
        public var volumeID: Int
        /// Its records in file order.
        public var records: [Record]?

        enum CodingKeys: String, CodingKey {
            case volumeID = "volume_id"
            case records = "dat_records"
        }
    }

    /// The directory's name.
    public var name: String
    /// What it shows.
    public var about: String
    /// Its volumes.
    public var volumes: [Volume]
    /// File ids of interest; `nil` when the server did not serve the directory.
    public var entries: [Entry]?
    /// The answer to an upload tried on the damaged volume.
    public var writeAfterLoad: Answer?

    enum CodingKeys: String, CodingKey {
        case about, volumes, entries
        case name = "case"
        case writeAfterLoad = "write_after_load"
    }
}

/// One golden directory.
public struct GoldenCase: Sendable {
    /// Absolute path.
    public let directory: String
    /// Its manifest.
    public let manifest: GoldenManifest

    /// The directory's name below `golden`.
    public var name: String { manifest.name }

    /// The files that belong to the volumes.
    public var files: [String] { Files.names(in: directory).filter { $0 != "manifest.json" } }

    /// Base names of its volumes: `7`, `photos_7`.
    public var bases: Set<String> { Set(files.map { String($0.prefix { $0 != "." }) }) }

    /// All cases, sorted by name.
    public static func all() throws -> [GoldenCase] {
        let top = Repository.fixtures + "/golden"
        var cases: [GoldenCase] = []
        for name in Files.names(in: top) {
            let inner = Files.names(in: "\(top)/\(name)").map { "\(top)/\(name)/\($0)" }
            for directory in ["\(top)/\(name)"] + inner {
                guard let bytes = Files.read(directory + "/manifest.json") else { continue }
                let manifest = try JSONDecoder().decode(GoldenManifest.self, from: Data(bytes))
                cases.append(GoldenCase(directory: directory, manifest: manifest))
            }
        }
        return cases
    }
}
