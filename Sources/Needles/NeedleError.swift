public import Model
internal import Platform

/// Faults of the storage engine.
///
/// The description names volume, place, expected, found, and what to do.
public enum NeedleError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The volume takes no writes.
    case readOnly(VolumeID, reason: String)
    /// The key exists with another cookie.
    case cookieMismatch(VolumeID, NeedleKey, UInt32)
    /// No such needle.
    case notFound(VolumeID, NeedleKey)
    /// No space left on the device; the text says where.
    case diskFull(String)
    /// The volume has reached the size its format can address.
    case volumeFull(VolumeID, size: UInt64)
    /// Too many writes wait: try again.
    case overloaded(VolumeID)
    /// Bytes on disk are not what was written.
    case damaged(VolumeID, offset: UInt64, expected: String, found: String)
    /// A system call failed; the text names call, file and reason.
    case io(String)
    /// The index of a volume failed; the text says how.
    case index(VolumeID, String)
    /// The volume was closed or deleted meanwhile.
    case closed(VolumeID)
    /// There is such a volume already.
    case exists(VolumeID)
    /// There is no such volume here.
    case noVolume(VolumeID)
    /// Another process uses the directory.
    case inUse(directory: String, pid: Int?)
    /// What was asked cannot be done; the text says why.
    case invalid(String)

    /// The message, as clients and logs show it.
    public var description: String {
        switch self {
        case .readOnly(let volume, _): "volume \(volume) is read only"
        case .cookieMismatch(_, _, let cookie): "mismatching cookie \(hex(cookie))"
        case .notFound(let volume, let key): "volume \(volume): no needle \(hex(key))"
        case .diskFull(let text): "no space left: \(text)"
        case .volumeFull(let volume, let size):
            "volume \(volume) is full: \(size) bytes is all its index can address"
        case .overloaded(let volume): "volume \(volume): too many writes are waiting, try again"
        case .damaged(let volume, let offset, let expected, let found):
            "volume \(volume): at offset \(offset) expected \(expected), found \(found)"
        case .io(let text): text
        case .index(let volume, let text): "volume \(volume): index: \(text)"
        case .closed(let volume): "volume \(volume) is closed"
        case .exists(let volume): "volume \(volume) exists already"
        case .noVolume(let volume): "volume \(volume) not found"
        case .inUse(let directory, let pid):
            "\(directory) is in use by "
                + (pid.map { "pid \($0)" } ?? "another process")
                + "; stop it first, or choose another -dir"
        case .invalid(let text): text
        }
    }

    /// The engine's error for a failed system call.
    init(_ error: DiskError) {
        self = error.isNoSpace ? .diskFull(error.description) : .io(error.description)
    }
}

/// A number as hexadecimal text without a prefix.
func hex(_ value: some BinaryInteger) -> String { String(value, radix: 16) }

/// Runs a disk operation and turns its error into the engine's.
@inline(__always)
func disk<R>(_ body: () throws(DiskError) -> R) throws(NeedleError) -> R {
    do {
        return try body()
    } catch {
        throw NeedleError(error)
    }
}
