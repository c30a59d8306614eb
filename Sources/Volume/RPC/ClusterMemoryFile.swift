import Platform
public import RPC

/// The file in which a volume server remembers its cluster: one line `topology <id>`, and one line
/// `master <address>` for each master it heard of.
public struct ClusterMemoryFile: Sendable {
    /// Its name, in the server's first data directory.
    public static let name = "cluster.txt"
    /// Bytes that are read at most.
    static let bytes = 64 << 10

    private let directory: String
    private var path: String { directory + "/" + ClusterMemoryFile.name }

    /// The file of a data directory.
    public init(directory: String) { self.directory = directory }

    /// What it says; nothing when there is none or it cannot be read.
    ///
    /// Lines that say neither are passed over. Blocks.
    public func read() -> ClusterMemory {
        var memory = ClusterMemory()
        guard let bytes = try? PosixDisk().readFile(path, limit: ClusterMemoryFile.bytes) else {
            return memory
        }
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count == 2 else { continue }
            switch words[0] {
            case "topology": memory.topologyID = String(words[1])
            case "master" where PeerAddress(String(words[1])) != nil:
                memory.masters.append(String(words[1]))
            default: continue
            }
        }
        return memory
    }

    /// Replaces it; durable when it returns.
    ///
    /// Blocks. Throws when the disk does not take it.
    public func write(_ memory: ClusterMemory) throws {
        var text = memory.topologyID.isEmpty ? "" : "topology \(memory.topologyID)\n"
        for master in memory.masters { text += "master \(master)\n" }
        try PosixDisk().replaceFile(path, in: directory, with: Array(text.utf8))
    }
}
