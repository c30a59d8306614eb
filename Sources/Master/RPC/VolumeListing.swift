import Model
import RPC
import SwiftProtobuf
import WireMessages

/// Which volumes a listing names; what it counts does not depend on it.
struct VolumeFilter: Sendable {
    /// Volumes in one message of a stream.
    static let batch = 10_000

    var collection = ""
    var isDefaultCollectionOnly = false
    /// Empty for all.
    var volumes: Set<VolumeID> = []
    var isTopologyOnly = false
    /// A tier; there are none here, so naming one lists nothing.
    var tier = ""

    init(_ request: MasterPb_VolumeListRequest) {
        collection = request.collection
        isDefaultCollectionOnly = request.defaultCollectionOnly
        volumes = Set(request.volumeIds)
        isTopologyOnly = request.topologyOnly
        tier = request.remoteStorageName
    }

    func takes(_ volume: VolumeInfo) -> Bool {
        (collection.isEmpty || volume.collection == collection)
            && (!isDefaultCollectionOnly || volume.collection.isEmpty)
            && (volumes.isEmpty || volumes.contains(volume.id)) && tier.isEmpty
    }
}

/// What the volumes of a collection use.
struct CollectionUsage: Sendable, Hashable {
    var volumes: UInt64 = 0
    /// Living files, one copy.
    var files: UInt64 = 0
    var deletes: UInt64 = 0
    var deletedBytes: UInt64 = 0
    /// Bytes of one copy.
    var size: UInt64 = 0
    /// Bytes of all copies.
    var physicalSize: UInt64 = 0
}

extension Topology {
    /// What a collection uses; "" means all of them unless `isExact`.
    func usage(ofCollection name: String, isExact: Bool = false) -> CollectionUsage {
        var usage = CollectionUsage()
        for entry in volumes.values {
            guard name.isEmpty && !isExact || layouts[entry.layout].key.collection == name
            else { continue }
            let copies = copies(entry)
            guard let largest = copies.max(by: { $0.size < $1.size }) else { continue }
            usage.volumes += 1
            usage.files =
                usage.files.addingOrMost(
                    largest.fileCount - min(largest.deleteCount, largest.fileCount))
            usage.deletes = usage.deletes.addingOrMost(largest.deleteCount)
            usage.deletedBytes = usage.deletedBytes.addingOrMost(largest.deletedByteCount)
            usage.size = usage.size.addingOrMost(largest.size)
            for copy in copies { usage.physicalSize = usage.physicalSize.addingOrMost(copy.size) }
        }
        return usage
    }

    /// Everything as `VolumeList` answers it.
    func listing(_ filter: VolumeFilter) -> MasterPb_VolumeListResponse {
        let servers = sortedServers
        var whole = MasterPb_TopologyInfo.with { $0.id = "topo" }
        for (center, racks) in racks.sorted(by: { $0.key < $1.key }) {
            var centerInfo = MasterPb_DataCenterInfo.with { $0.id = center }
            for rack in racks.sorted() {
                var rackInfo = MasterPb_RackInfo.with { $0.id = rack }
                for server in servers where server.dataCenter == center && server.rack == rack {
                    let node = server.listing(filter)
                    rackInfo.diskInfos.add(node.diskInfos)
                    rackInfo.dataNodeInfos.append(node)
                }
                centerInfo.diskInfos.add(rackInfo.diskInfos)
                centerInfo.rackInfos.append(rackInfo)
            }
            whole.diskInfos.add(centerInfo.diskInfos)
            whole.dataCenterInfos.append(centerInfo)
        }
        return .with {
            $0.topologyInfo = whole
            $0.volumeSizeLimitMb = volumeSizeLimit >> 20
        }
    }
}

extension ServerNode {
    fileprivate func listing(_ filter: VolumeFilter) -> MasterPb_DataNodeInfo {
        var disks: [String: MasterPb_DiskInfo] = [:]
        for type in Set(maxVolumes.keys).union(used.keys) {
            disks[type] = .with {
                $0.type = type
                $0.volumeCount = Int64(used[type] ?? 0)
                $0.maxVolumeCount = Int64(maxVolumes[type] ?? 0)
                $0.freeVolumeCount = Int64(free(type))
            }
        }
        for held in volumes.values where !held.info.isReadOnly {
            disks[LayoutKey.canonical(held.info.diskType)]?.activeVolumeCount += 1
        }
        if !filter.isTopologyOnly {
            for (type, volumes) in volumesByDisk(filter) {
                disks[type]?.volumeInfos = volumes.map(\.message)
            }
        }
        return .with {
            // Tools take the id for the address.
            $0.id = url
            $0.diskInfos = disks
            $0.grpcPort = UInt32(clamping: grpcPort)
            $0.address = url
        }
    }

    /// The volumes that a filter takes, ascending, by disk type.
    func volumesByDisk(_ filter: VolumeFilter) -> [(type: String, volumes: [VolumeInfo])] {
        let taken = volumes.values.map(\.info).filter { filter.takes($0) }
        let byType = Dictionary(grouping: taken) { LayoutKey.canonical($0.diskType) }
        return byType.sorted { $0.key < $1.key }
            .map { ($0.key, $0.value.sorted { $0.id < $1.id }) }
    }
}

extension [String: MasterPb_DiskInfo] {
    /// Adds the counts of others; volumes are listed with their servers only.
    fileprivate mutating func add(_ others: [String: MasterPb_DiskInfo]) {
        for (type, other) in others {
            var sum = self[type] ?? .with { $0.type = type }
            sum.volumeCount += other.volumeCount
            sum.maxVolumeCount += other.maxVolumeCount
            sum.freeVolumeCount += other.freeVolumeCount
            sum.activeVolumeCount += other.activeVolumeCount
            self[type] = sum
        }
    }
}

extension UInt64 {
    /// The sum, or the largest number when it is more.
    func addingOrMost(_ other: UInt64) -> UInt64 {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? .max : sum
    }

    /// The product, or the largest number when it is more.
    func multipliedOrMost(_ other: UInt64) -> UInt64 {
        let (product, overflow) = multipliedReportingOverflow(by: other)
        return overflow ? .max : product
    }
}
