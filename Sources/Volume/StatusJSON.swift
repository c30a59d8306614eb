import Model
import Needles
import Wire

/// The status page's JSON.
enum StatusJSON {
    /// What the volumes say of themselves, by number.
    static func sorted(_ volumes: [Volume]) -> [VolumeInfo] {
        volumes.map(\.info).sorted { $0.id < $1.id }
    }

    /// Writes one directory.
    static func write(_ directory: DirectoryStatus, to json: inout JSONWriter) {
        func percent(_ part: UInt64) -> Double {
            guard directory.all > 0 else { return 0 }
            return (Double(part) / Double(directory.all) * 10_000).rounded() / 100
        }
        json.object {
            $0.field("dir", directory.path)
            $0.field("all", directory.all)
            $0.field("used", directory.used)
            $0.field("free", directory.free)
            $0.field("percent_free", percent(directory.free))
            $0.field("percent_used", percent(directory.used))
        }
    }
}

/// The page for people: directories and volumes in two tables.
struct OverviewPage {
    let url: String
    let masters: [String]
    let version: String
    let directories: [DirectoryStatus]
    let volumes: [VolumeInfo]

    /// The page.
    var html: String {
        """
        <!DOCTYPE html>
        <html lang="en"><head><meta charset="utf-8"><title>Volume server \(escaped(url))</title>
        <style>body{font:14px sans-serif;margin:2em}table{border-collapse:collapse;margin:1em 0}
        td,th{border:1px solid #ccc;padding:.3em .8em;text-align:left}</style></head><body>
        <h1>Volume server \(escaped(url))</h1>
        <p>Version \(escaped(version)). Masters: \(escaped(masters.joined(separator: ", "))).</p>
        <h2>Directories</h2>
        <table><tr><th>Directory<th>Bytes<th>Used<th>Free<th>State</tr>
        \(directories.map(row).joined(separator: "\n"))
        </table>
        <h2>Volumes</h2>
        <table><tr><th>Id<th>Collection<th>Replication<th>Ttl<th>Files<th>Deleted<th>Bytes<th>State</tr>
        \(volumes.map(row).joined(separator: "\n"))
        </table></body></html>
        """
    }

    private func row(_ directory: DirectoryStatus) -> String {
        let cells = [
            directory.path, "\(directory.all)", "\(directory.used)", "\(directory.free)",
            directory.problem ?? "ok",
        ]
        return row(cells)
    }

    private func row(_ volume: VolumeInfo) -> String {
        row([
            "\(volume.id)", volume.collection, "\(volume.replication)", "\(volume.ttl)",
            "\(volume.fileCount)", "\(volume.deleteCount)", "\(volume.size)",
            volume.readOnlyReason ?? "ok",
        ])
    }

    private func row(_ cells: [String]) -> String {
        "<tr>" + cells.map { "<td>\(escaped($0))" }.joined() + "</tr>"
    }

    private func escaped(_ text: String) -> String {
        var result = ""
        for character in text.unicodeScalars {
            switch character {
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "&": result += "&amp;"
            case "\"": result += "&quot;"
            default: result.unicodeScalars.append(character)
            }
        }
        return result
    }
}
