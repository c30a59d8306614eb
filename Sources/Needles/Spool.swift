public import NIOCore
internal import Platform
internal import Synchronization

/// A body being received that is too large for memory: a nameless file in the volume's directory.
///
/// Blocking; used by one thread at a time. Gone with its last reference, also after a crash.
public final class Spool: Sendable {
    let file: any DiskFile
    private let progress = Mutex((length: UInt64(0), checksum: UInt32(0)))

    init(file: any DiskFile) {
        self.file = file
    }

    /// Adds bytes at the end.
    ///
    /// Blocks.
    public func append(_ bytes: ByteBuffer) throws(NeedleError) {
        let start = progress.withLock { $0.length }
        try disk { () throws(DiskError) in try file.write(bytes.readableBytesSpan, at: start) }
        let crc = CRC32C.checksum(
            bytes.readableBytesSpan, continuing: progress.withLock { $0.checksum })
        progress.withLock {
            $0.length += UInt64(bytes.readableBytes)
            $0.checksum = crc
        }
    }

    /// Bytes so far.
    public var length: UInt64 { progress.withLock { $0.length } }

    /// CRC-32C of the bytes so far.
    public var checksum: UInt32 { progress.withLock { $0.checksum } }

    /// Reads back, at most `count` bytes; fewer at the end.
    ///
    /// Blocks.
    public func read(at offset: UInt64, upTo count: Int) throws(NeedleError) -> ByteBuffer {
        try readBuffer(file, at: offset, count: count)
    }
}

/// A range of an open data file; keeps the file open, also after compaction replaced it.
public struct FileBody: Sendable {
    let file: any DiskFile
    /// Where the body begins in the file.
    public let offset: UInt64
    /// Bytes in the body.
    public let length: UInt64

    /// A descriptor of its own on the same file; the caller closes it.
    public func duplicateDescriptor() throws(NeedleError) -> CInt {
        try disk { () throws(DiskError) in try file.duplicateDescriptor() }
    }

    /// Reads part of the body; `start` counts from its begin.
    ///
    /// Fewer bytes at its end. Blocks.
    public func read(at start: UInt64, count: Int) throws(NeedleError) -> ByteBuffer {
        guard start < length else { return ByteBuffer() }
        let wanted = Int(min(UInt64(max(count, 0)), length - start))
        return try readBuffer(file, at: offset + start, count: wanted)
    }

    /// Reads `count` bytes behind what `buffer` has, if memory holds all of them.
    ///
    /// `false`, and nothing read, when that would wait for the disk or runs past the end.
    public func readCached(
        into buffer: inout ByteBuffer, at start: UInt64, count: Int
    ) throws(NeedleError) -> Bool {
        guard count > 0, start <= length, UInt64(count) <= length - start else { return false }
        var result = Result<Bool, DiskError>.success(false)
        unsafe buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { target in
            do throws(DiskError) {
                let part = unsafe UnsafeMutableRawBufferPointer(rebasing: target[..<count])
                guard let read = try unsafe file.readCached(into: part, at: offset + start),
                    read == count
                else { return 0 }
                result = .success(true)
                return count
            } catch {
                result = .failure(error)
                return 0
            }
        }
        return try disk { () throws(DiskError) in try result.get() }
    }
}

/// Reads up to `count` bytes into a new buffer; fewer only at the end of the file.
func readBuffer(
    _ file: any DiskFile, at offset: UInt64, count: Int
) throws(NeedleError) -> ByteBuffer {
    var buffer = ByteBufferAllocator().buffer(capacity: max(count, 1))
    try readAppending(&buffer, file, at: offset, count: count)
    return buffer
}

/// Reads up to `count` bytes behind what `buffer` has; fewer only at the end of the file.
func readAppending(
    _ buffer: inout ByteBuffer, _ file: any DiskFile, at offset: UInt64, count: Int
) throws(NeedleError) {
    buffer.reserveCapacity(minimumWritableBytes: count)
    var failure: DiskError?
    unsafe buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { target in
        do throws(DiskError) {
            let part = unsafe UnsafeMutableRawBufferPointer(rebasing: target[..<count])
            return try unsafe file.read(into: part, at: offset)
        } catch {
            failure = error
            return 0
        }
    }
    if let failure { throw NeedleError(failure) }
}
