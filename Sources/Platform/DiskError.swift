import Glibc

/// A system call on a file failed.
public struct DiskError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The call, `pwrite`.
    public let call: String
    /// The file.
    public let path: String
    /// The `errno` value.
    public let code: CInt

    /// A failure of `call` on `path`.
    public init(call: String, path: String, code: CInt) {
        self.call = call
        self.path = path
        self.code = code
    }

    /// The code of a file that is larger than it may be.
    public static var fileTooLarge: CInt { EFBIG }
    /// The code of a device that failed.
    public static var deviceFailed: CInt { EIO }
    /// The code of a file that is not open for this.
    public static var badDescriptor: CInt { EBADF }
    /// The code of a full device.
    public static var deviceFull: CInt { ENOSPC }

    /// Whether the device, or the owner's quota, is full.
    public var isNoSpace: Bool { code == ENOSPC || code == EDQUOT }
    /// Whether there is no such file.
    public var isNotFound: Bool { code == ENOENT }
    /// Whether there is such a file already.
    public var isExists: Bool { code == EEXIST }
    /// Whether the process may not do this.
    public var isPermission: Bool { code == EACCES || code == EPERM || code == EROFS }

    /// `pwrite /data/3.dat: No space left on device (ENOSPC 28)`.
    public var description: String {
        let text = unsafe String(cString: strerror(code))
        return "\(call) \(path): \(text) (errno \(code))"
    }
}
