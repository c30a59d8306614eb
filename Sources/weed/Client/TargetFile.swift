import Glibc
import NIOCore
import NIOPosix
import Synchronization

/// A file of this machine that is being downloaded: invisible under its name until it is whole.
final class TargetFile: Sendable {
    private let directory: String
    private let temporary: String
    private let descriptor: CInt
    private let isOpen = Mutex(true)

    /// Makes a new file in `directory`.
    init(in directory: String) throws(ClientError) {
        self.directory = directory
        let number = String(UInt64.random(in: .min ... .max), radix: 16)
        temporary = "\(directory)/.weed-download-\(number)"
        unsafe descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw .local(directory, code: errno) }
    }

    deinit { discard() }

    /// Appends bytes, on a thread that may wait for the disk.
    func append(_ piece: ByteBuffer) async throws {
        let descriptor = descriptor
        let temporary = temporary
        try await NIOThreadPool.singleton.runIfActive {
            var rest = piece
            while rest.readableBytes > 0 {
                let written = unsafe rest.withUnsafeReadableBytes { bytes in
                    unsafe write(descriptor, bytes.baseAddress, bytes.count)
                }
                if written < 0 {
                    if errno == EINTR { continue }
                    throw ClientError.local(temporary, code: errno)
                }
                rest.moveReaderIndex(forwardBy: written)
            }
        }
    }

    /// Gives the file its name; replaces what had it before.
    func finish(as name: String) throws(ClientError) {
        let wasOpen = isOpen.withLock { isOpen in
            defer { isOpen = false }
            return isOpen
        }
        guard wasOpen else { return }
        let path = "\(directory)/\(name)"
        guard close(descriptor) == 0, unsafe rename(temporary, path) == 0 else {
            let code = errno
            _ = unsafe unlink(temporary)
            throw .local(path, code: code)
        }
    }

    /// Removes the file unless it was finished.
    func discard() {
        let wasOpen = isOpen.withLock { isOpen in
            defer { isOpen = false }
            return isOpen
        }
        guard wasOpen else { return }
        close(descriptor)
        unsafe unlink(temporary)
    }
}
