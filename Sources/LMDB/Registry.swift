import Glibc
import Synchronization

/// The environments this process has open, by real path.
///
/// LMDB's own locks are POSIX record locks: opening one file twice in a process corrupts it.
enum Registry {
    private static let open = Mutex<Set<String>>([])
    private static let serial = Atomic<UInt32>(0)

    /// Takes the path for this process; false when it is taken.
    static func claim(_ realPath: String) -> Bool {
        open.withLock { $0.insert(realPath).inserted }
    }

    static func release(_ realPath: String) {
        open.withLock { _ = $0.remove(realPath) }
    }

    static func nextSerial() -> UInt32 {
        serial.add(1, ordering: .relaxed).newValue
    }

    /// The path with links resolved; the file itself need not exist, its directory must.
    static func realPath(_ path: String) throws(LMDBError) -> String {
        if let found = resolve(path) { return found }
        let split = splitPath(path)
        guard let directory = resolve(split.directory) else {
            throw LMDBError(code: errno, call: "realpath", path: path)
        }
        return directory == "/" ? "/" + split.name : directory + "/" + split.name
    }

    static func splitPath(_ path: String) -> (directory: String, name: String) {
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return (".", path) }
        let name = String(path[path.utf8.index(after: slash)...])
        return (slash == path.startIndex ? "/" : String(path[..<slash]), name)
    }

    private static func resolve(_ path: String) -> String? {
        guard let found = unsafe Glibc.realpath(path, nil) else { return nil }
        defer { unsafe free(found) }
        return unsafe String(cString: found)
    }

    /// Makes a directory's entries durable.
    static func syncDirectory(of path: String) throws(LMDBError) {
        let directory = splitPath(path).directory
        let descriptor = unsafe Glibc.open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw LMDBError(code: errno, call: "open directory", path: path)
        }
        defer { Glibc.close(descriptor) }
        guard fsync(descriptor) == 0 else {
            throw LMDBError(code: errno, call: "fsync directory", path: path)
        }
    }
}
