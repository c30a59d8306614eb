internal import NIOCore
internal import Platform

/// A window onto a file, moved when something outside is asked for.
struct PositionedBuffer {
    /// Bytes of a window.
    static let window = 1 << 20

    private(set) var buffer = ByteBuffer()
    private var start: UInt64 = 0

    /// Makes `count` bytes at `offset` available.
    /// - Returns: their index in ``buffer``; `nil` when the file, taken to end at `end`, has fewer.
    mutating func load(
        _ file: any DiskFile, _ offset: UInt64, _ count: Int, end: UInt64
    ) throws(NeedleError) -> Int? {
        guard offset <= end, UInt64(count) <= end - offset else { return nil }
        if offset >= start, offset + UInt64(count) <= start + UInt64(buffer.readableBytes) {
            return buffer.readerIndex + Int(offset - start)
        }
        let wanted = Int(min(UInt64(max(PositionedBuffer.window, count)), end - offset))
        buffer.clear()
        try readAppending(&buffer, file, at: offset, count: wanted)
        start = offset
        return buffer.readableBytes >= count ? buffer.readerIndex : nil
    }
}
