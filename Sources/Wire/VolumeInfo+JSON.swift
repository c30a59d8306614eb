public import Model

extension JSONWriter {
    /// Writes a volume as both servers' status pages show it; keys as in `docs/http.md`.
    public mutating func value(_ volume: VolumeInfo) {
        object {
            $0.field("Collection", volume.collection)
            $0.field("DiskType", volume.diskType)
            $0.field("RemoteStorageName", "")
            $0.object("ReplicaPlacement") {
                let placement = volume.replication
                if placement.sameRack > 0 { $0.field("node", placement.sameRack) }
                if placement.otherRacks > 0 { $0.field("rack", placement.otherRacks) }
                if placement.otherDataCenters > 0 { $0.field("dc", placement.otherDataCenters) }
            }
            $0.object("Ttl") {
                $0.field("Count", volume.ttl.count)
                $0.field("Unit", volume.ttl.unit.rawValue)
            }
            $0.field("Size", volume.size)
            $0.field("DeletedByteCount", volume.deletedByteCount)
            $0.field("ModifiedAtSecond", volume.modifiedAtSecond)
            $0.field("Id", volume.id)
            $0.field("DiskId", volume.diskID)
            $0.field("CompactRevision", volume.compactRevision)
            $0.field("FileCount", volume.fileCount)
            $0.field("DeleteCount", volume.deleteCount)
            $0.field("Version", volume.version)
            $0.field("ReadOnly", volume.isReadOnly)
            $0.field("ReadOnlyCanDelete", volume.readOnlyCanDelete)
            // beyond the original's keys, and only when there is something to say
            if let reason = volume.readOnlyReason { $0.field("ReadOnlyReason", reason) }
        }
    }
}
