internal import CPosix
import Glibc

/// The real file system.
public struct PosixDisk: Disk {
    /// The file system of this process.
    public init() {}

    /// Opens a file, close-on-exec, mode 0644 when created.
    public func open(_ path: String, _ mode: OpenMode) throws(DiskError) -> any DiskFile {
        let flags: CInt =
            switch mode {
            case .read: O_RDONLY
            case .readWrite: O_RDWR
            case .create: O_RDWR | O_CREAT | O_EXCL
            case .createOrTruncate: O_RDWR | O_CREAT | O_TRUNC
            }
        let descriptor = retrying { unsafe Glibc.open(path, flags | O_CLOEXEC, 0o644) }
        guard descriptor >= 0 else { throw DiskError(call: "open", path: path, code: errno) }
        return PosixFile(descriptor: descriptor, path: path)
    }

    /// Opens with `O_TMPFILE`; where the file system has none, a named file that is unlinked at
    /// once.
    public func openNameless(in directory: String) throws(DiskError) -> any DiskFile {
        // O_TMPFILE is O_DIRECTORY and a bit of its own; Swift does not import it
        let temporaryFile: CInt = 0o20000000 | O_DIRECTORY
        let descriptor = retrying {
            unsafe Glibc.open(directory, temporaryFile | O_RDWR | O_CLOEXEC, 0o600)
        }
        if descriptor >= 0 {
            return PosixFile(descriptor: descriptor, path: directory + "/(nameless)")
        }
        guard errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL else {
            throw DiskError(call: "open O_TMPFILE", path: directory, code: errno)
        }
        let path = "\(directory)/.spool.\(getpid()).\(UInt64.random(in: .min ... .max))"
        let file = try open(path, .create)
        try remove(path)
        return file
    }

    /// `rename(2)`.
    public func rename(_ path: String, to newPath: String) throws(DiskError) {
        guard unsafe Glibc.rename(path, newPath) == 0 else {
            throw DiskError(call: "rename to \(newPath)", path: path, code: errno)
        }
    }

    /// `unlink(2)`.
    public func remove(_ path: String) throws(DiskError) {
        guard unsafe unlink(path) == 0 || errno == ENOENT else {
            throw DiskError(call: "unlink", path: path, code: errno)
        }
    }

    /// `fsync(2)` on the directory.
    public func syncDirectory(_ path: String) throws(DiskError) {
        let descriptor = retrying { unsafe Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
        guard descriptor >= 0 else {
            throw DiskError(call: "open directory", path: path, code: errno)
        }
        defer { close(descriptor) }
        guard retrying({ fsync(descriptor) }) == 0 else {
            throw DiskError(call: "fsync directory", path: path, code: errno)
        }
    }

    /// `readdir(3)`, without `.` and `..`.
    public func list(_ path: String) throws(DiskError) -> [String] {
        guard let directory = unsafe opendir(path) else {
            throw DiskError(call: "opendir", path: path, code: errno)
        }
        defer { unsafe closedir(directory) }
        var names: [String] = []
        while let entry = unsafe readdir(directory) {
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
                unsafe String(cString: UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self))
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// `access(2)`.
    public func exists(_ path: String) -> Bool { unsafe access(path, F_OK) == 0 }

    /// `statvfs(3)`; available is what an ordinary user may take.
    public func space(at path: String) throws(DiskError) -> (total: UInt64, available: UInt64) {
        var status = statvfs()
        guard unsafe statvfs(path, &status) == 0 else {
            throw DiskError(call: "statvfs", path: path, code: errno)
        }
        let block = UInt64(status.f_frsize)
        return (UInt64(status.f_blocks) * block, UInt64(status.f_bavail) * block)
    }
}

/// Repeats a call that a signal interrupted.
func retrying<Result: SignedInteger>(_ call: () -> Result) -> Result {
    while true {
        let result = call()
        if result != -1 || errno != EINTR { return result }
    }
}
