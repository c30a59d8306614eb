internal import Model

/// The first bytes of a data file (`docs/format.md`, superblock): version, replica placement, time
/// to live, compaction revision, and the length of an extra section that is skipped.
struct SuperBlock: Equatable {
    /// Bytes of a superblock without an extra section.
    static let length = 8
    /// The version of new volumes.
    static let currentVersion: UInt8 = 3

    var version: UInt8 = SuperBlock.currentVersion
    var replication: ReplicaPlacement = .single
    var ttl: TimeToLive = .none
    var revision: UInt16 = 0
    var extraLength: UInt16 = 0

    /// Where the first record begins.
    var firstRecord: UInt64 {
        let end = UInt64(SuperBlock.length) + (version >= 2 ? UInt64(extraLength) : 0)
        return (end + 7) & ~7
    }

    /// The eight bytes.
    var bytes: [UInt8] {
        [
            version, replication.stored, ttl.count, ttl.unit.rawValue,
            UInt8(revision >> 8), UInt8(revision & 255),
            UInt8(extraLength >> 8), UInt8(extraLength & 255),
        ]
    }

    /// A superblock with the current version and no extra section.
    init(replication: ReplicaPlacement, ttl: TimeToLive) {
        self.replication = replication
        self.ttl = ttl
    }

    /// Decodes the first eight bytes of `volume`.
    init(_ bytes: [UInt8], volume: VolumeID) throws(NeedleError) {
        guard bytes.count >= SuperBlock.length else {
            throw .damaged(
                volume, offset: 0, expected: "a superblock of 8 bytes",
                found: "\(bytes.count) bytes")
        }
        guard (1...3).contains(bytes[0]) else {
            throw .damaged(
                volume, offset: 0, expected: "format version 1, 2 or 3", found: "\(bytes[0])")
        }
        version = bytes[0]
        replication = ReplicaPlacement(stored: bytes[1])
        ttl = TimeToLive(stored: bytes[2], bytes[3])
        revision = UInt16(bytes[4]) << 8 | UInt16(bytes[5])
        extraLength = UInt16(bytes[6]) << 8 | UInt16(bytes[7])
    }
}
