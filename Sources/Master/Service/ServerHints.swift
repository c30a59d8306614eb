import Glibc
import Platform
import Synchronization

/// Which volume servers were connected, one id a line: a hint for the next start, so that warm-up
/// ends when all of them are back.
///
/// Losing it costs seconds, never data.
final class ServerHints: Sendable {
    /// Servers remembered.
    static let limit = 10_000
    private static let fileBytes = 1 << 20

    /// The servers of the last run; `nil` when they are not known.
    let recovered: Set<String>?
    private let path: String
    private let wanted: Mutex<Set<String>>
    /// Where files are written: nothing that waits for the disk may hold a lock or an event loop.
    private let lane: WorkerPool

    /// Reads `volume-servers` in a directory.
    init(directory: String, lane: WorkerPool) {
        path = directory + "/volume-servers"
        recovered = ServerHints.read(path)
        wanted = Mutex(recovered ?? [])
        self.lane = lane
    }

    /// Remembers the servers that are connected now.
    ///
    /// A failure is of no consequence.
    func remember(_ ids: [String]) {
        let ids = Set(ids.filter { !$0.contains("\n") }.prefix(ServerHints.limit))
        let isNew = wanted.withLock { wanted in
            defer { wanted = ids }
            return wanted != ids
        }
        guard isNew else { return }
        lane.submit { [self] in
            // What is wanted by now, so that the last change is the one that stays.
            let text = wanted.withLock { $0 }.sorted().map { $0 + "\n" }.joined()
            ServerHints.write(text, to: path)
        }
    }

    private static func read(_ path: String) -> Set<String>? {
        guard let file = unsafe fopen(path, "re") else { return nil }
        defer { unsafe fclose(file) }
        var bytes = [UInt8](repeating: 0, count: fileBytes)
        let count = unsafe bytes.withUnsafeMutableBytes {
            unsafe fread($0.baseAddress, 1, $0.count, file)
        }
        let text = String(decoding: bytes.prefix(count), as: UTF8.self)
        return Set(text.split(separator: "\n").prefix(limit).map(String.init))
    }

    private static func write(_ text: String, to path: String) {
        let temporary = path + ".new"
        guard let file = unsafe fopen(temporary, "we") else { return }
        let bytes = Array(text.utf8)
        let count = unsafe bytes.withUnsafeBytes {
            unsafe fwrite($0.baseAddress, 1, $0.count, file)
        }
        guard unsafe fclose(file) == 0, count == bytes.count else {
            unsafe unlink(temporary)
            return
        }
        unsafe rename(temporary, path)
    }
}
