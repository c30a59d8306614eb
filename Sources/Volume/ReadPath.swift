import HTTPServer
internal import Model
internal import NIOCore
internal import NIOPosix
internal import Needles

/// Answers GET and HEAD of files.
///
/// What the page cache holds is answered on the event loop, in one write; the rest goes to a read
/// thread first. The answer is planned without touching the connection (`ReadPlan`) and then sent.
enum ReadPath {
    /// Answers a read.
    ///
    /// `urlName` is the last part of `/3/01637037d6/name.jpg`, or the extension that follows the
    /// file id in the comma form. Called on the event loop.
    static func serve(
        _ request: HTTPRequest, _ exchange: Exchange, fileID: FileID, urlName: String?,
        context: ReadContext
    ) {
        guard let volume = context.store.volume(fileID.volume) else {
            ReadElsewhere.serve(request, exchange, fileID: fileID, context: context)
            return
        }
        let job = ReadJob(
            request: request, ask: ReadRequest(request, urlName: urlName), exchange: exchange,
            fileID: fileID, context: context)
        do {
            switch try volume.readCached(
                fileID.key, cookie: fileID.cookie, includeDeleted: job.includesDeleted)
            {
            case .found(let needle): job.answer(needle)
            case .notFound: job.notFound(volume)
            case .wouldBlock:
                job.onReadThread(in: volume) {
                    try volume.read(
                        fileID.key, cookie: fileID.cookie, includeDeleted: job.includesDeleted)
                }
            }
        } catch {
            job.fail(error)
        }
    }
}

/// One read under way.
struct ReadJob: Sendable {
    /// The request.
    let request: HTTPRequest
    /// What it asks for.
    let ask: ReadRequest
    /// Where the answer goes.
    let exchange: Exchange
    /// The file.
    let fileID: FileID
    /// What serving takes.
    let context: ReadContext

    /// Whether deleted files are shown.
    var includesDeleted: Bool { ask.query?.includesDeleted ?? false }

    /// Answers with a file that was found on the event loop.
    func answer(_ needle: StoredNeedle) {
        do {
            if let answer = try plan(needle, mayBlock: false) {
                deliver(answer)
            } else {
                onReadThread(in: nil) { needle }
            }
        } catch {
            fail(error)
        }
    }

    /// Reads and plans on a thread that may block, then answers.
    func onReadThread(
        in volume: Volume?, _ read: @escaping @Sendable () throws -> StoredNeedle?
    ) {
        context.pool.runIfActive(eventLoop: exchange.eventLoop) { () throws -> ReadAnswer? in
            guard let needle = try read() else { return nil }
            return try plan(needle, mayBlock: true) ?? .failure(500)
        }.whenComplete { result in
            switch result {
            case .success(let answer?): deliver(answer)
            case .success(nil): notFound(volume)
            case .failure(let error): fail(error)
            }
        }
    }

    /// Answers 404, unless the volume has copies and this one never heard of the file: then another
    /// holder may have it.
    func notFound(_ volume: Volume?) {
        guard let volume, volume.replication.copies > 1,
            (try? volume.isKnown(fileID.key)) != true,
            ReadElsewhere.tryOthers(self, else: .failure(404))
        else { return send(.failure(404)) }
    }

    private func plan(_ needle: StoredNeedle, mayBlock: Bool) throws -> ReadAnswer? {
        guard needle.isCompressed, ReadRequest.acceptsGzip(request) else {
            return try ReadPlan.answer(for: needle, id: fileID, ask, mayBlock: mayBlock)
        }
        var ask = ask
        ask.acceptsGzip = true
        return try ReadPlan.answer(for: needle, id: fileID, ask, mayBlock: mayBlock)
    }

    /// Sends an answer, after a look at the first bytes where it depends on them.
    func deliver(_ answer: ReadAnswer) {
        switch answer.body {
        case .none, .omitted, .bytes: send(answer)
        case .content(.file, _) where !answer.needsSniff: send(answer)
        case .content(.file(let file), let range):
            prefetch(answer, .file(file), [.content(range)], limit: ContentType.sniffBytes)
        case .content(let content, let range): prefetch(answer, content, [.content(range)])
        case .parts(let content, let parts, _): prefetch(answer, content, parts)
        }
    }

    /// Reads ahead, so that a missing chunk is an error and not a broken connection.
    private func prefetch(
        _ answer: ReadAnswer, _ content: ReadContent, _ parts: [ReadPart],
        limit: Int = ReadContent.pieceBytes
    ) {
        let stream = ReadStream(parts, from: content.makeReader(context))
        stream.prefetch(limit, on: exchange.eventLoop).whenComplete { result in
            var answer = answer
            switch result {
            case .success(let bytes):
                if answer.needsSniff {
                    answer.contentType = .text(ContentType.sniff(bytes.readableBytesUInt8Span))
                }
                send(answer, stream)
            case .failure(let error as ChunkError):
                context.failures.report(fileID, error)
                answer.contentRange = nil
                answer.become(500, message: "\(error)\n")
                send(answer)
            case .failure(let error): fail(error)
            }
        }
    }

    /// Sends an answer; `stream` is its body when that comes in pieces.
    func send(_ answer: ReadAnswer, _ stream: ReadStream? = nil) {
        let body: ResponseBody
        do {
            body = try makeBody(answer, stream)
        } catch {
            fail(error)
            return
        }
        exchange.respond(answer.status, body: body) { headers in
            answer.write(&headers, server: context.serverHeader, hasOrigin: ask.hasOrigin)
        }
    }

    private func makeBody(
        _ answer: ReadAnswer, _ stream: ReadStream?
    ) throws(NeedleError) -> ResponseBody {
        switch answer.body {
        case .none: return .none
        case .omitted(let length): return .omitted(length: length)
        case .bytes(let bytes):
            return bytes.readableBytes > 0 ? .bytes(bytes) : .empty
        case .content(let content, let range):
            let stream = stream ?? ReadStream([.content(range)], from: content.makeReader(context))
            return .stream(length: range.length, source: stream)
        case .parts(let content, let parts, let length):
            let stream = stream ?? ReadStream(parts, from: content.makeReader(context))
            return .stream(length: length, source: stream)
        }
    }

    /// Answers that the file cannot be read.
    ///
    /// Clients learn the reason only of faults in a manifest.
    func fail(_ error: any Error) {
        context.failures.report(fileID, error)
        let message = (error as? ChunkManifestError).map { "\($0)\n" } ?? ""
        let answer = ReadAnswer.failure(500, message: ask.isHead ? "" : message)
        if error is NeedleError, ReadElsewhere.tryOthers(self, else: answer) { return }
        send(answer)
    }
}
