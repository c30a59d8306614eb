public import Model
internal import SwiftProtobuf
public import WireMessages

extension VolumeInfo {
    /// What another server says of a volume.
    ///
    /// A value that does not fit is cut down to the nearest that does; the caller checks names.
    public init(_ message: MasterPb_VolumeInformationMessage) {
        let reason = message.readOnlyReason.isEmpty ? "read only there" : message.readOnlyReason
        self.init(
            id: message.id, collection: message.collection,
            replication: ReplicaPlacement(stored: UInt8(clamping: message.replicaPlacement)),
            ttl: TimeToLive(message: message.ttl), diskType: DiskTypeName.inner(message.diskType),
            diskID: message.diskID, size: message.size, fileCount: message.fileCount,
            deleteCount: message.deleteCount, deletedByteCount: message.deletedByteCount,
            modifiedAtSecond: message.modifiedAtSecond, version: UInt8(clamping: message.version),
            compactRevision: UInt16(truncatingIfNeeded: message.compactRevision),
            readOnlyReason: message.readOnly ? reason : nil,
            readOnlyCanDelete: message.readOnlyCanDelete)
    }

    /// What another server says of a volume that came or went; sizes and counts are not known.
    public init(_ message: MasterPb_VolumeShortInformationMessage) {
        self.init(
            id: message.id, collection: message.collection,
            replication: ReplicaPlacement(stored: UInt8(clamping: message.replicaPlacement)),
            ttl: TimeToLive(message: message.ttl), diskType: DiskTypeName.inner(message.diskType),
            diskID: message.diskID, version: UInt8(clamping: message.version),
            readOnlyReason: message.readOnly ? "read only there" : nil,
            readOnlyCanDelete: message.readOnlyCanDelete)
    }

    /// The volume in a full list.
    public var message: MasterPb_VolumeInformationMessage {
        .with {
            $0.id = id
            $0.size = size
            $0.collection = collection
            $0.fileCount = fileCount
            $0.deleteCount = deleteCount
            $0.deletedByteCount = deletedByteCount
            $0.readOnly = isReadOnly
            $0.replicaPlacement = UInt32(replication.stored)
            $0.version = UInt32(version)
            $0.ttl = ttl.message
            $0.compactRevision = UInt32(compactRevision)
            $0.modifiedAtSecond = modifiedAtSecond
            $0.diskType = diskType
            $0.diskID = diskID
            $0.readOnlyCanDelete = isReadOnly && readOnlyCanDelete
            $0.readOnlyReason = readOnlyReason ?? ""
        }
    }

    /// The volume in a delta.
    public var shortMessage: MasterPb_VolumeShortInformationMessage {
        .with {
            $0.id = id
            $0.collection = collection
            $0.replicaPlacement = UInt32(replication.stored)
            $0.version = UInt32(version)
            $0.ttl = ttl.message
            $0.diskType = diskType
            $0.diskID = diskID
            $0.readOnly = isReadOnly
            $0.readOnlyCanDelete = isReadOnly && readOnlyCanDelete
        }
    }
}

extension TimeToLive {
    /// count · 256 + unit; anything else is none.
    public init(message: UInt32) {
        self.init(
            stored: UInt8(exactly: message >> 8) ?? 0, UInt8(truncatingIfNeeded: message))
    }

    /// count · 256 + unit.
    public var message: UInt32 { UInt32(count) << 8 | UInt32(unit.rawValue) }
}

/// Names of disk types: the usual one is "" inside and on the wire, `hdd` where people write it.
public enum DiskTypeName {
    /// The name as it is kept: "" for `hdd`.
    public static func inner(_ name: String) -> String { name == "hdd" ? "" : name }
}
