import HTTPServer
import Model
import NIOCore
import Needles

/// An upload too large for memory, or of unknown size: the file's bytes go into a spool while they
/// arrive.
///
/// The first bytes stay in memory, so that small bodies of unknown length never touch the disk
/// twice. The client is slowed down to the speed of the disk. What fails on the way leaves nothing
/// behind: a spool has no name.
final class UploadStream: BodySink, @unchecked Sendable {
    // `@unchecked`: every property is used on the exchange's event loop only.

    /// Bytes of the memory budget that one stream takes.
    static let reservedBytes = 512 << 10
    /// Bytes kept in memory before a spool is made.
    static let memoryBytes = 256 << 10
    /// Bytes waiting for the disk above which reading from the client pauses.
    static let queueLimit = 192 << 10

    private let context: UploadContext
    private var parser: MultipartParser?
    private var choice = PartChoice()
    private var headers: MultipartHeaders
    private var writer: SpoolWriter
    private var isPaused = false
    /// Answered or failed: what comes from now on is dropped.
    private var isDone = false
    private var hasEnded = false
    private var isTooLarge = false

    private init(_ context: UploadContext) {
        self.context = context
        headers = context.head.raw
        if case .multipart(let boundary) = context.head.form {
            parser = MultipartParser(boundary: boundary)
        }
        writer = SpoolWriter(context, headers: headers)
    }

    /// Receives the request's body and stores the file in it.
    static func receive(_ context: UploadContext) {
        let stream = UploadStream(context)
        let isMultipart = context.head.form != .raw
        let limit = context.service.configuration.fileSizeLimit
        context.exchange.readBody(
            limit: isMultipart ? limit + UploadContext.envelopeLimit : limit, into: stream)
    }

    /// Takes the next piece of the body.
    func receive(_ piece: ByteBuffer) {
        guard !isDone else { return }
        guard parser != nil else { return take(piece) }
        parser?.feed(piece)
        do {
            while !isDone, !choice.isComplete, let event = try parser?.next() { take(event) }
            if choice.isComplete { parser?.drop() }
        } catch {
            refuse(.multipart(error))
        }
    }

    /// The body is complete.
    func end() {
        guard !isDone else { return }
        if let parser, !choice.isComplete {
            do {
                try parser.finish()
            } catch {
                return refuse(.multipart(error))
            }
        }
        guard !isTooLarge else {
            return refuse(.tooLarge(limit: context.service.configuration.fileSizeLimit))
        }
        hasEnded = true
        writer.finish { [self] result in
            guard !isDone else { return }
            isDone = true
            switch result {
            case .success(let file): context.store(file)
            case .failure(let error): context.fail(error)
            }
        }
    }

    /// The body will never be complete.
    func failed(_ error: BodyError) {
        guard !isDone, !hasEnded else { return }
        isDone = true
        dropWriter()
        context.bodyFailed(error)
    }

    private func take(_ event: MultipartParser.Event) {
        switch event {
        case .part(let headers):
            guard choice.begin(headers) else { return }
            dropWriter()
            self.headers = headers
            isTooLarge = false
            writer = SpoolWriter(context, headers: headers)
        case .data(let bytes): if choice.takesData { take(bytes) }
        case .partEnd: choice.end()
        case .end: break
        }
    }

    private func take(_ bytes: ByteBuffer) {
        guard !isTooLarge else { return }
        let limit = context.service.configuration.fileSizeLimit
        guard writer.total + UInt64(bytes.readableBytes) <= limit else {
            isTooLarge = true
            return dropWriter()
        }
        writer.append(bytes) { [weak self] result in self?.wrote(result) }
        // Only the end of a disk job resumes, so there must be one.
        if writer.isAtDisk, writer.waitingBytes > UploadStream.queueLimit { pause() }
    }

    /// The disk took what was waiting, or would not.
    private func wrote(_ result: Result<Void, NeedleError>) {
        if case .failure(let error) = result, !isDone {
            isDone = true
            writer.discard()
            context.fail(error)
        }
        if isDone || writer.waitingBytes <= UploadStream.queueLimit { resume() }
    }

    private func refuse(_ error: UploadError) {
        isDone = true
        dropWriter()
        context.refuse(error)
    }

    /// Forgets what was received; the disk will not report any more, so reading goes on.
    private func dropWriter() {
        writer.discard()
        resume()
    }

    private func pause() {
        guard !isPaused else { return }
        isPaused = true
        context.exchange.pauseReading()
    }

    private func resume() {
        guard isPaused else { return }
        isPaused = false
        context.exchange.resumeReading()
    }
}
