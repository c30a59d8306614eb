import FoundationEssentials
import Glibc
import Logging
import Platform
import RPC

/// What a volume server remembers of its cluster, in each of its directories: the cluster's id and the
/// masters it heard of.
struct ClusterFile: Sendable {
    /// The file's name.
    static let name = "cluster.json"
    /// Most bytes of it.
    static let limit = 64 << 10

    /// The directories, each of which has the file.
    let directories: [String]
    /// Where to log.
    let logger: Logger

    private struct Content: Codable {
        var topologyID: String
        var masters: [String]
    }

    /// What is remembered.
    ///
    /// Throws when directories belong to different clusters, or a file cannot be read.
    func load() throws(CommandFailure) -> ClusterMemory {
        var memory = ClusterMemory()
        var origin = ""
        for directory in directories {
            guard let found = try read(directory) else { continue }
            if memory.masters.isEmpty { memory.masters = found.masters }
            guard !found.topologyID.isEmpty else { continue }
            guard memory.topologyID.isEmpty || memory.topologyID == found.topologyID else {
                throw .state(
                    "\(directory) belongs to cluster \(found.topologyID), \(origin) to "
                        + "\(memory.topologyID): one server cannot be in both; check -dir")
            }
            memory.topologyID = found.topologyID
            origin = directory
        }
        return memory
    }

    private func read(_ directory: String) throws(CommandFailure) -> Content? {
        let path = "\(directory)/\(ClusterFile.name)"
        let bytes: [UInt8]
        do {
            bytes = try PosixDisk().readFile(path, limit: ClusterFile.limit)
        } catch {
            guard error.code == ENOENT else { throw .state("\(path): \(error)") }
            return nil
        }
        guard let content = try? JSONDecoder().decode(Content.self, from: Data(bytes)) else {
            throw .state(
                "\(path) cannot be read: expected {\"topologyID\":…,\"masters\":[…]}; remove it if this "
                    + "server belongs to the cluster of -master")
        }
        return content
    }

    /// Writes it down; a directory that cannot be written is told, and the others have it.
    func save(_ memory: ClusterMemory) {
        let content = Content(topologyID: memory.topologyID, masters: memory.masters)
        guard let data = try? JSONEncoder().encode(content) else { return }
        for directory in directories {
            do throws(DiskError) {
                try PosixDisk().replaceFile(
                    "\(directory)/\(ClusterFile.name)", in: directory, with: Array(data))
            } catch {
                logger.warning("the cluster's masters are not remembered in \(directory): \(error)")
            }
        }
    }
}
