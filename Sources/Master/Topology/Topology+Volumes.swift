import Model
import Wire

extension Topology {
    /// Size of an average file when a volume has none yet.
    static let assumedFileBytes: Int64 = 1024

    /// A writable volume as its layout keeps it.
    func slot(_ entry: VolumeEntry, _ copies: [VolumeInfo]) -> WritableSlot {
        let size = copies.map(\.size).max() ?? 0
        let files = copies.map(\.fileCount).max() ?? 0
        return WritableSlot(
            volume: entry.id,
            remaining: Int64(clamping: volumeSizeLimit - min(size, volumeSizeLimit)),
            averageFile: files > 0 ? Int64(clamping: size / files) : Topology.assumedFileBytes,
            isCrowded: Double(size) >= Double(volumeSizeLimit) * 0.9,
            targets: entry.holders.compactMap { servers[$0]?.target })
    }

    /// The list of locations in a look-up's answer.
    func locationsJSON(_ entry: VolumeEntry) -> [UInt8] {
        var json = JSONWriter()
        writeLocations(entry, to: &json)
        return json.bytes
    }

    /// Writes the list of locations in a look-up's answer.
    func writeLocations(_ entry: VolumeEntry, to json: inout JSONWriter) {
        json.array {
            for server in entry.holders.compactMap({ servers[$0] }) {
                $0.object {
                    $0.field("url", server.url)
                    $0.field("publicUrl", server.publicURL)
                    $0.field("dataCenter", server.dataCenter)
                    if server.grpcPort > 0 { $0.field("grpcPort", server.grpcPort) }
                }
            }
        }
    }

    /// The server at an address.
    func server(at url: String) -> ServerNode? {
        if let key = serverKey(url), let server = servers[key], server.url == url { return server }
        return servers.values.first { $0.url == url }
    }

    /// Every server with all its volumes.
    var allLocations: [LocationChange] {
        servers.values.map {
            LocationChange(server: $0.location, added: $0.volumes.keys.sorted())
        }
    }

    /// Whether a server is where a request wants it.
    func matches(_ server: ServerNode, _ whereabouts: Whereabouts) -> Bool {
        (whereabouts.dataCenter.isEmpty || whereabouts.dataCenter == server.dataCenter)
            && (whereabouts.rack.isEmpty || whereabouts.rack == server.rack)
            && (whereabouts.node.isEmpty || whereabouts.node == server.url
                || whereabouts.node == server.publicURL || whereabouts.node == server.id)
    }

    /// Slots of every server together.
    var slots: (max: Int, free: Int) {
        var total = (max: 0, free: 0)
        for server in servers.values {
            let slots = server.slots
            total.max += slots.max
            total.free += slots.free
        }
        return total
    }

    /// Free slots of one disk type.
    func free(_ diskType: String) -> Int {
        servers.values.reduce(0) { $0 + $1.free(diskType) }
    }

    /// Servers in the order shown.
    var sortedServers: [ServerNode] {
        servers.values.sorted {
            ($0.dataCenter, $0.rack, $0.url) < ($1.dataCenter, $1.rack, $1.url)
        }
    }

    /// The volumes of a collection, ascending.
    func volumes(ofCollection name: String) -> [VolumeEntry] {
        volumes.values.filter { layouts[$0.layout].key.collection == name }.sorted { $0.id < $1.id }
    }

    /// Checks that the parts agree; for tests.
    func checkInvariants() {
        for (id, entry) in volumes {
            precondition(entry.id == id && !entry.holders.isEmpty, "volume \(id) has no holder")
            precondition(layouts[entry.layout].volumes.contains(id), "volume \(id) left its layout")
            precondition(
                layouts[entry.layout].isWritable(id) == (entry.reason == nil),
                "volume \(id) is writable although \(String(describing: entry.reason))")
            precondition(
                entry.holders.allSatisfy { servers[$0]?.volumes[id] != nil },
                "volume \(id) names a server that does not have it")
        }
        for layout in layouts {
            precondition(
                layout.crowded == layout.slots.count(where: \.isCrowded), "crowded count is off")
            precondition(layout.slots.count <= layout.volumes.count, "phantom writable volume")
        }
        precondition(
            copyCount == servers.values.reduce(0) { $0 + $1.volumes.count }, "copy count is off")
        for server in servers.values {
            server.checkInvariants()
            for id in server.volumes.keys {
                precondition(volumes[id]?.holders.contains(server.key) == true, "lost volume \(id)")
            }
        }
    }
}
