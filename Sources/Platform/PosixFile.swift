internal import CPosix
import Glibc

/// A file of the real file system; closed when the last reference goes.
final class PosixFile: DiskFile {
    let descriptor: CInt
    let path: String

    init(descriptor: CInt, path: String) {
        self.descriptor = descriptor
        self.path = path
    }

    deinit { close(descriptor) }

    private func failure(_ call: String) -> DiskError {
        DiskError(call: call, path: path, code: errno)
    }

    func length() throws(DiskError) -> UInt64 {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { throw failure("fstat") }
        return UInt64(status.st_size)
    }

    func read(
        into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64
    ) throws(DiskError) -> Int {
        var done = 0
        while done < buffer.count {
            let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
            let count = retrying {
                unsafe pread(descriptor, rest.baseAddress, rest.count, off_t(offset) + off_t(done))
            }
            guard count >= 0 else { throw failure("pread") }
            if count == 0 { break }
            done += count
        }
        return done
    }

    func readCached(
        into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64
    ) throws(DiskError) -> Int? {
        let count = retrying {
            unsafe weed_pread_nowait(descriptor, buffer.baseAddress, buffer.count, off_t(offset))
        }
        // A part is in memory, or the file system cannot say: let a thread that may block read it.
        if count == buffer.count { return count }
        if count >= 0 || errno == EAGAIN || errno == EOPNOTSUPP || errno == ENOSYS { return nil }
        throw failure("preadv2")
    }

    func write(_ bytes: RawSpan, at offset: UInt64) throws(DiskError) {
        try unsafe bytes.withUnsafeBytes { (buffer) throws(DiskError) in
            var done = 0
            while done < buffer.count {
                let rest = unsafe UnsafeRawBufferPointer(rebasing: buffer[done...])
                let count = retrying {
                    unsafe pwrite(
                        descriptor, rest.baseAddress, rest.count, off_t(offset) + off_t(done))
                }
                guard count >= 0 else { throw failure("pwrite") }
                guard count > 0 else {
                    throw DiskError(call: "pwrite", path: path, code: ENOSPC)
                }
                done += count
            }
        }
    }

    func sync() throws(DiskError) {
        guard retrying({ fdatasync(descriptor) }) == 0 else { throw failure("fdatasync") }
    }

    func truncate(to length: UInt64) throws(DiskError) {
        guard retrying({ ftruncate(descriptor, off_t(length)) }) == 0 else {
            throw failure("ftruncate")
        }
    }

    func reserve(at offset: UInt64, length: UInt64) throws(DiskError) {
        let result = retrying { weed_reserve(descriptor, off_t(offset), off_t(length)) }
        // a file system without reservations finds out when it writes
        guard result == 0 || errno == EOPNOTSUPP else { throw failure("fallocate") }
    }

    func startWriteback(at offset: UInt64, length: UInt64) {
        _ = weed_start_writeback(descriptor, off_t(offset), off_t(length))
    }

    func copy(
        from source: any DiskFile, at sourceOffset: UInt64, to offset: UInt64, length: UInt64
    ) throws(DiskError) {
        guard let source = source as? PosixFile else {
            throw DiskError(call: "copy_file_range", path: path, code: EXDEV)
        }
        var from = off_t(sourceOffset)
        var to = off_t(offset)
        let end = from + off_t(length)
        while from < end {
            let count = retrying {
                unsafe weed_copy_range(source.descriptor, &from, descriptor, &to, Int(end - from))
            }
            if count == 0 { throw DiskError(call: "copy_file_range", path: path, code: EIO) }
            guard count > 0 else {
                // not every file system can, nor between all files
                guard [EXDEV, EINVAL, EOPNOTSUPP, ENOSYS, EPERM].contains(errno) else {
                    throw failure("copy_file_range")
                }
                return try copyByHand(from: source, at: from, to: to, end: end)
            }
        }
    }

    private func copyByHand(
        from source: PosixFile, at start: off_t, to target: off_t, end: off_t
    ) throws(DiskError) {
        let piece = 1 << 20
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: piece, alignment: 16)
        defer { unsafe buffer.deallocate() }
        var from = start
        while from < end {
            let wanted = min(piece, Int(end - from))
            let part = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted])
            guard try unsafe source.read(into: part, at: UInt64(from)) == wanted else {
                throw DiskError(call: "pread", path: source.path, code: EIO)
            }
            try unsafe write(UnsafeRawBufferPointer(part).bytes, at: UInt64(target + from - start))
            from += off_t(wanted)
        }
    }

    func duplicateDescriptor() throws(DiskError) -> CInt {
        let copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
        guard copy >= 0 else { throw failure("fcntl F_DUPFD_CLOEXEC") }
        return copy
    }
}
