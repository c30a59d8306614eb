import Model
import Wire

extension Topology {
    /// The `Topology` of `/dir/status`.
    func writeStatus(to json: inout JSONWriter) {
        let slots = slots
        json.object {
            $0.field("Max", slots.max)
            $0.field("Free", slots.free)
            writeDataCenters(to: &$0)
            let layouts = shownLayouts
            for name in ["Layouts", "layouts"] {
                $0.key(name)
                writeLayouts(layouts, to: &$0)
            }
        }
    }

    private func writeDataCenters(to json: inout JSONWriter) {
        json.key("DataCenters")
        if racks.isEmpty { return json.null() }
        let servers = sortedServers
        json.array {
            for (center, racks) in racks.sorted(by: { $0.key < $1.key }) {
                $0.object {
                    $0.field("Id", center)
                    $0.array("Racks") {
                        for rack in racks.sorted() {
                            let inside = servers.filter {
                                $0.dataCenter == center && $0.rack == rack
                            }
                            Topology.writeRack(rack, inside, to: &$0)
                        }
                    }
                }
            }
        }
    }

    private static func writeRack(
        _ name: String, _ servers: [ServerNode], to json: inout JSONWriter
    ) {
        json.object {
            $0.field("Id", name)
            $0.key("DataNodes")
            if servers.isEmpty { return $0.null() }
            $0.array {
                for server in servers {
                    $0.object {
                        $0.field("Url", server.url)
                        $0.field("PublicUrl", server.publicURL)
                        $0.field("Volumes", server.volumes.count)
                        $0.field("EcShards", 0)
                        $0.field("Max", server.slots.max)
                        $0.field("VolumeIds", ranges(server.volumes.keys.sorted()))
                        if !server.problems.isEmpty {
                            $0.object("Problems") {
                                for (directory, problem) in server.problems.sorted(by: <) {
                                    $0.field(directory, problem)
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// Ascending numbers as ` 1-5 7`.
    static func ranges(_ ids: [VolumeID]) -> String {
        var text = ""
        var position = 0
        while position < ids.count {
            var end = position
            while end + 1 < ids.count, ids[end + 1] == ids[end] + 1 { end += 1 }
            text += end == position ? " \(ids[position])" : " \(ids[position])-\(ids[end])"
            position = end + 1
        }
        return text
    }

    private func writeLayouts(_ layouts: [Layout], to json: inout JSONWriter) {
        if layouts.isEmpty { return json.null() }
        json.array {
            for layout in layouts {
                $0.object {
                    $0.field("replication", layout.key.replication.description)
                    $0.field("ttl", layout.key.ttl.description)
                    $0.key("writables")
                    let writables = layout.writables
                    if writables.isEmpty {
                        $0.null()
                    } else {
                        $0.array { for id in writables { $0.value(id) } }
                    }
                    $0.field("collection", layout.key.collection)
                    $0.field("diskType", LayoutKey.shown(layout.key.diskType))
                    writeUnwritable(layout, to: &$0)
                }
            }
        }
    }

    /// Why volumes of a layout take no new files; left out when all do.
    private func writeUnwritable(_ layout: Layout, to json: inout JSONWriter) {
        let entries = layout.volumes.compactMap { volumes[$0] }
            .filter { $0.reason != nil }.sorted { $0.id < $1.id }
        if entries.isEmpty { return }
        json.array("unwritables") {
            for entry in entries {
                $0.object {
                    $0.field("id", entry.id)
                    $0.field("reason", entry.reason?.description ?? "")
                }
            }
        }
    }

    /// The `Volumes` of `/vol/status`.
    func writeVolumes(to json: inout JSONWriter) {
        let slots = slots
        let servers = sortedServers
        json.object {
            $0.object("DataCenters") {
                for (center, racks) in racks.sorted(by: { $0.key < $1.key }) {
                    $0.object(center) {
                        for rack in racks.sorted() {
                            $0.object(rack) {
                                for server in servers
                                where server.dataCenter == center && server.rack == rack {
                                    Topology.writeVolumes(of: server, to: &$0)
                                }
                            }
                        }
                    }
                }
            }
            $0.field("Free", slots.free)
            $0.field("Max", slots.max)
        }
    }

    private static func writeVolumes(of server: ServerNode, to json: inout JSONWriter) {
        json.key(server.url)
        if server.volumes.isEmpty { return json.null() }
        json.array {
            for id in server.volumes.keys.sorted() {
                if let held = server.volumes[id] { $0.value(held.info) }
            }
        }
    }

    /// The fields of `/collection/info` for some layouts; `nil` when there is none.
    func writeCollection(
        _ name: String, _ layouts: [Layout], counted: Bool, version: String,
        to json: inout JSONWriter
    ) {
        var files: UInt64 = 0
        var used: UInt64 = 0
        var count = 0
        for id in layouts.flatMap(\.volumes) {
            guard let entry = volumes[id], let copy = copies(entry).first else {
                continue
            }
            count += 1
            files += copy.fileCount - min(copy.deleteCount, copy.fileCount)
            let live = copy.size - min(copy.deletedByteCount, copy.size)
            // A volume without files has its header only.
            used += live > 8 ? live : 0
        }
        json.object {
            $0.field("Collection", name)
            $0.field("FileCount", files)
            $0.field(
                "TotalSize",
                UInt64(count).multipliedReportingOverflow(by: volumeSizeLimit)
                    .partialValue)
            $0.field("UsedSize", used)
            $0.field("Version", version)
            if counted { $0.field("VolumeCount", layouts.count) }
        }
    }
}
