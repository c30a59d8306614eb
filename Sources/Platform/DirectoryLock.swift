import Glibc

/// A lock on a directory that one process at a time may hold; released by the system when the
/// process ends.
public final class DirectoryLock: Sendable {
    private let descriptor: CInt

    /// Why the lock was not obtained.
    public enum Failure: Error, Sendable, Equatable {
        /// Another process holds it; its id, when it could be read.
        case held(by: Int?)
        /// The lock file could not be made or locked.
        case disk(DiskError)
    }

    /// Locks `path`, a file made for that purpose, and writes this process's id into it.
    public init(path: String) throws(Failure) {
        let descriptor = unsafe Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else {
            throw .disk(DiskError(call: "open", path: path, code: errno))
        }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let code = errno
            let owner = DirectoryLock.owner(descriptor)
            close(descriptor)
            throw code == EWOULDBLOCK
                ? .held(by: owner) : .disk(DiskError(call: "flock", path: path, code: code))
        }
        let text = Array("\(getpid())\n".utf8)
        _ = ftruncate(descriptor, 0)
        _ = unsafe text.withUnsafeBytes { unsafe pwrite(descriptor, $0.baseAddress, $0.count, 0) }
        self.descriptor = descriptor
    }

    deinit {
        // a process being spawned may hold a copy of the descriptor for a moment: closing alone
        // would not unlock
        flock(descriptor, LOCK_UN)
        close(descriptor)
    }

    private static func owner(_ descriptor: CInt) -> Int? {
        var bytes = [UInt8](repeating: 0, count: 32)
        let count = unsafe bytes.withUnsafeMutableBytes {
            unsafe pread(descriptor, $0.baseAddress, $0.count, 0)
        }
        guard count > 0 else { return nil }
        let digits = bytes.prefix(count).prefix { $0 >= 0x30 && $0 <= 0x39 }
        return Int(String(decoding: digits, as: UTF8.self))
    }
}
