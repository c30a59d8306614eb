import HTTPServer
internal import NIOCore

/// Sends parts of a file piece by piece.
///
/// Confined to its event loop.
final class ReadStream: BodySource, @unchecked Sendable {
    // `@unchecked`: used on one event loop only; the futures it makes end there.
    private var parts: ArraySlice<ReadPart>
    private var reader: (any ContentReader)?
    private var ready: ByteBuffer?

    /// A stream of parts that `reader` reads.
    init(_ parts: [ReadPart], from reader: any ContentReader) {
        self.parts = parts[...]
        self.reader = reader
    }

    /// Reads the first bytes of the file that will be sent, so that a failure can still become an
    /// answer.
    ///
    /// They are kept for `next`.
    func prefetch(
        _ limit: Int = ReadContent.pieceBytes, on loop: any EventLoop
    ) -> EventLoopFuture<ByteBuffer> {
        for (i, part) in zip(parts.indices, parts) {
            guard case .content(let range) = part, range.length > 0 else { continue }
            return read(range, limit, on: loop).map { [self] bytes in
                guard parts.indices.contains(i) else { return bytes }
                take(bytes.readableBytes, of: range, at: i)
                // The text before the first part goes ahead of its bytes.
                parts.insert(.literal(bytes), at: i)
                return bytes
            }
        }
        return loop.makeSucceededFuture(ByteBuffer())
    }

    func next(on loop: any EventLoop) -> EventLoopFuture<ByteBuffer?> {
        while let part = parts.first {
            switch part {
            case .literal(let bytes):
                parts.removeFirst()
                if bytes.readableBytes > 0 { return loop.makeSucceededFuture(bytes) }
            case .content(let range) where range.length == 0: parts.removeFirst()
            case .content(let range):
                return read(range, ReadContent.pieceBytes, on: loop).map { [self] bytes in
                    take(bytes.readableBytes, of: range, at: parts.startIndex)
                    return bytes
                }
            }
        }
        return loop.makeSucceededFuture(nil)
    }

    func finished() {
        reader = nil
        parts = []
    }

    private func read(
        _ range: ByteRange, _ limit: Int, on loop: any EventLoop
    ) -> EventLoopFuture<ByteBuffer> {
        guard let reader else {
            return loop.makeFailedFuture(ContentEndedEarly(offset: range.start))
        }
        let count = Int(min(range.length, UInt64(limit)))
        return reader.read(at: range.start, count: count, on: loop).flatMapThrowing { bytes in
            // A reader that gives nothing, or more than it was asked for, would break the framing.
            guard bytes.readableBytes > 0, bytes.readableBytes <= count else {
                throw ContentEndedEarly(offset: range.start)
            }
            return bytes
        }
    }

    private func take(_ count: Int, of range: ByteRange, at index: Int) {
        guard parts.indices.contains(index) else { return }
        let count = UInt64(count)
        parts[index] = .content(
            ByteRange(start: range.start + count, length: range.length - count))
    }
}
