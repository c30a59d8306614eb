import Glibc
import Logging
import NIOCore

/// A part of an open file that is being sent.
final class FilePart {
    let handle: NIOFileHandle
    private(set) var offset: Int
    private(set) var remaining: Int
    private var isReleased = false

    /// Takes the descriptor over; `nil`, and closed, when the file does not hold that part.
    init?(descriptor: CInt, offset: UInt64, length: UInt64) {
        var status = stat()
        let (end, overflow) = offset.addingReportingOverflow(length)
        guard !overflow, end <= UInt64(Int.max), unsafe fstat(descriptor, &status) == 0,
            end <= UInt64(max(0, status.st_size))
        else {
            _ = close(descriptor)
            return nil
        }
        handle = NIOFileHandle(_deprecatedTakingOwnershipOfDescriptor: descriptor)
        self.offset = Int(offset)
        remaining = Int(length)
    }

    /// The next segment; `nil` at the end.
    ///
    /// The one after it is read ahead by the kernel meanwhile.
    func next() -> FileRegion? {
        guard remaining > 0 else { return nil }
        let count = min(remaining, Limits.segmentBytes)
        let region = FileRegion(
            fileHandle: handle, readerIndex: offset, endIndex: offset + count)
        offset += count
        remaining -= count
        if remaining > 0 {
            let ahead = min(remaining, Limits.segmentBytes)
            try? handle.withUnsafeFileDescriptor { descriptor in
                _ = posix_fadvise(descriptor, off_t(offset), off_t(ahead), POSIX_FADV_WILLNEED)
            }
        }
        return region
    }

    func release() {
        guard !isReleased else { return }
        isReleased = true
        try? handle.close()
    }
}

/// The body a pump sends.
enum PumpContent {
    case bytes(ByteBuffer)
    case file(FilePart)
    case stream(any BodySource, remaining: UInt64?, isChunked: Bool)

    func release() {
        switch self {
        case .bytes: break
        case .file(let part): part.release()
        case .stream(let source, _, _): source.finished()
        }
    }
}

/// Sends a large body segment by segment, each when the one before it has been written.
///
/// Between segments the loop turns to other connections. Used on the connection's event loop only.
final class ResponsePump {
    private let connection: ConnectionHandler
    private var content: PumpContent
    private var isDone = false

    init(connection: ConnectionHandler, content: PumpContent) {
        self.connection = connection
        self.content = content
    }

    /// Stops sending and gives back what the body holds.
    ///
    /// May be called more than once.
    func cancel() {
        guard !isDone else { return }
        isDone = true
        connection.isWriting = false
        content.release()
    }

    /// Sends the next segment.
    func run() {
        guard !isDone else { return }
        switch content {
        case .bytes(var rest):
            let count = min(rest.readableBytes, Limits.segmentBytes)
            guard count > 0, let segment = rest.readSlice(length: count) else { return finish() }
            content = .bytes(rest)
            write(.byteBuffer(segment))
        case .file(let part):
            guard let region = part.next() else { return finish() }
            write(.fileRegion(region))
        case .stream(let source, _, _):
            connection.isWriting = false
            connection.flushNow()
            source.next(on: connection.loop).hop(to: connection.loop).assumeIsolated()
                .whenComplete { self.received($0) }
        }
    }

    private func received(_ result: Result<ByteBuffer?, any Error>) {
        guard !isDone, case .stream(let source, let remaining, let isChunked) = content else {
            return
        }
        switch result {
        case .failure(let error):
            fail("\(error)")
        case .success(.none):
            guard remaining ?? 0 == 0 else { return fail("body shorter than announced") }
            if isChunked {
                writeLast(ByteBuffer(staticString: "0\r\n\r\n"))
            } else {
                finish()
            }
        case .success(.some(let piece)):
            let count = UInt64(piece.readableBytes)
            guard count > 0 else { return again() }
            if let remaining {
                guard count <= remaining else { return fail("body longer than announced") }
                content = .stream(source, remaining: remaining - count, isChunked: isChunked)
            }
            if isChunked { writeChunk(piece) } else { write(.byteBuffer(piece)) }
        }
    }

    private func writeChunk(_ piece: ByteBuffer) {
        var size = connection.allocator.buffer(capacity: 24)
        size.writeString(String(piece.readableBytes, radix: 16))
        size.writeStaticString("\r\n")
        connection.writePart(.byteBuffer(size), promise: nil)
        connection.writePart(.byteBuffer(piece), promise: nil)
        write(.byteBuffer(ByteBuffer(staticString: "\r\n")))
    }

    private func write(_ data: IOData) {
        writeThen(data) { self.again() }
    }

    private func writeLast(_ buffer: ByteBuffer) {
        writeThen(.byteBuffer(buffer)) { self.finish() }
    }

    private func writeThen(_ data: IOData, _ next: @escaping () -> Void) {
        let promise = connection.loop.makePromise(of: Void.self)
        connection.isWriting = true
        promise.futureResult.assumeIsolated().whenComplete { result in
            guard !self.isDone else { return }
            switch result {
            case .success:
                self.connection.stamp = self.connection.shared.clock
                next()
            case .failure(let error):
                self.fail("\(error)")
            }
        }
        connection.writePart(data, promise: promise)
        connection.flushNow()
    }

    /// The next segment in the loop's next turn: a client that takes all at once must not hold the
    /// others up.
    private func again() {
        connection.loop.assumeIsolated().execute { self.run() }
    }

    private func finish() {
        guard !isDone else { return }
        isDone = true
        content.release()
        connection.responseWritten()
    }

    private func fail(_ reason: String) {
        guard !isDone else { return }
        connection.shared.logger.debug("answer broken off", metadata: ["reason": "\(reason)"])
        cancel()
        connection.close()
    }
}

extension ConnectionHandler {
    func writePart(_ data: IOData, promise: EventLoopPromise<Void>?) {
        guard let context else {
            promise?.fail(ChannelError.ioOnClosedChannel)
            return
        }
        context.write(wrapOutboundOut(data), promise: promise)
    }

    func flushNow() {
        needsFlush = false
        context?.flush()
    }
}
