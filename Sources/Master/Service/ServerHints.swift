import Glibc
import Synchronization

/// Which volume servers were connected, one id a line: a hint for the next start, so that warm-up ends when
/// all of them are back. Losing it costs seconds, never data.
final class ServerHints: Sendable {
    /// Servers remembered.
    static let limit = 10_000
    private static let fileBytes = 1 << 20

    /// The servers of the last run; `nil` when they are not known.
    let recovered: Set<String>?
    private let path: String
    private let written: Mutex<Set<String>>

    /// Reads `volume-servers` in a directory.
    init(directory: String) {
        path = directory + "/volume-servers"
        recovered = ServerHints.read(path)
        written = Mutex(recovered ?? [])
    }

    /// Remembers the servers that are connected now. A failure is of no consequence.
    func remember(_ ids: [String]) {
        let wanted = Set(ids.filter { !$0.contains("\n") }.prefix(ServerHints.limit))
        // The file is small and changes when a server joins: written under the lock, so that the last
        // change is the one that stays.
        written.withLock { written in
            guard wanted != written else { return }
            written = wanted
            ServerHints.write(wanted.sorted().map { $0 + "\n" }.joined(), to: path)
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
