/// The page people look at in a browser.
enum StatusPage {
    /// Servers and layouts listed.
    static let rowLimit = 1000

    /// Text that is safe inside HTML.
    static func escape(_ text: String) -> String {
        var safe = ""
        for character in text {
            switch character {
            case "&": safe += "&amp;"
            case "<": safe += "&lt;"
            case ">": safe += "&gt;"
            case "\"": safe += "&#34;"
            case "'": safe += "&#39;"
            default: safe.append(character)
            }
        }
        return safe
    }

    /// The page of a master.
    static func html(_ topology: Topology, address: String, core: MasterCore) -> String {
        let slots = topology.slots
        var page = """
            <!doctype html><html lang="en"><head><meta charset="utf-8">
            <title>weed master \(escape(address))</title><style>
            body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:70em;padding:0 1em}
            table{border-collapse:collapse;width:100%;margin:1em 0}
            td,th{border-bottom:1px solid #ccc;padding:.3em .6em;text-align:left}
            </style></head><body><h1>Master \(escape(address))</h1>
            <p>Cluster \(escape(core.topologyID)), version \(escape(core.configuration.version)),
            largest volume id \(topology.acceptedVolumeID),
            \(slots.free) of \(slots.max) volume slots free.</p>
            <h2>Volume servers</h2><table><tr><th>Data center</th><th>Rack</th><th>Address</th>
            <th>Volumes</th><th>Slots</th><th>Problems</th></tr>
            """
        for server in topology.sortedServers.prefix(rowLimit) {
            let link = escape(server.publicURL)
            let problems = server.problems.sorted { $0.key < $1.key }
                .map { "\($0.key): \($0.value)" }.joined(separator: "; ")
            page += """
                <tr><td>\(escape(server.dataCenter))</td><td>\(escape(server.rack))</td>
                <td><a href="http://\(link)/ui/index.html">\(link)</a></td>
                <td>\(server.volumes.count)</td><td>\(server.slots.max)</td>
                <td>\(escape(problems))</td></tr>
                """
        }
        page += """
            </table><h2>Volumes by kind</h2><table><tr><th>Collection</th><th>Replication</th>
            <th>TTL</th><th>Disk</th><th>Volumes</th><th>Writable</th></tr>
            """
        for layout in topology.shownLayouts.prefix(rowLimit) {
            page += """
                <tr><td>\(escape(layout.key.collection))</td><td>\(layout.key.replication)</td>
                <td>\(layout.key.ttl)</td><td>\(escape(LayoutKey.shown(layout.key.diskType)))</td>
                <td>\(layout.volumes.count)</td><td>\(layout.slots.count)</td></tr>
                """
        }
        return page + "</table></body></html>\n"
    }

    /// A leaf; small enough to be part of the program.
    static let icon = """
        <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path fill="#3a7d44" \
        d="M2 14C2 6 7 2 14 2c0 7-4 12-12 12z"/></svg>
        """
}
