import HTTPServer
import Model
import NIOCore
import Needles

extension VolumeService {
    /// Answers POST and PUT of a file.
    func upload(_ request: HTTPRequest, _ exchange: Exchange, _ fileID: FileID) {
        let head: UploadHead
        do {
            head = try UploadHead(request, fileID: fileID)
        } catch {
            return respond(exchange, to: request, 400, error: error.description)
        }
        guard let volume = store.volume(fileID.volume) else {
            return noVolume(request, exchange, fileID.volume)
        }
        let copies = VolumeService.copies(volume, isReplicate: head.isReplicate)
        guard copies > 1 else { return receive(request, exchange, head, volume, holders: []) }
        guard !volume.isReadOnly else {
            counters.count(counters.failures)
            let error = NeedleError.readOnly(volume.id, reason: "")
            return respond(
                exchange, to: request, 500, error: "failed to write to local disk: \(error)")
        }
        self.copies.holders.find(volume.id, copies: copies, on: exchange.eventLoop) { result in
            switch result {
            case .success(let holders):
                self.receive(request, exchange, head, volume, holders: holders)
            case .failure(let error):
                self.counters.count(self.counters.failures)
                self.respond(
                    exchange, to: request, 500,
                    error: error.message(for: volume.id, copies: copies))
            }
        }
    }

    /// Receives the body of an upload.
    private func receive(
        _ request: HTTPRequest, _ exchange: Exchange, _ head: UploadHead, _ volume: Volume,
        holders: [String]
    ) {
        let limit = UInt64(UploadContext.memoryLimit)
        let isSmall = request.contentLength.map { $0 <= limit } ?? false
        let reserved = isSmall ? Int(request.contentLength ?? 0) : UploadStream.reservedBytes
        budget.reserve(reserved, on: exchange.eventLoop) { isGranted in
            guard isGranted else {
                return self.respond(
                    exchange, to: request, 503,
                    error:
                        "too many uploads at once: \(MemoryBudget.defaultBytes) bytes are in use",
                    retryAfter: 1)
            }
            let context = UploadContext(
                service: self, request: request, exchange: exchange, head: head, volume: volume,
                holders: holders, reserved: reserved)
            isSmall ? context.receiveSmall() : UploadStream.receive(context)
        }
    }

    /// Answers a write to a volume that does not serve here.
    private func noVolume(_ request: HTTPRequest, _ exchange: Exchange, _ id: VolumeID) {
        switch store.lookup(id) {
        case .opening, .open:
            respond(
                exchange, to: request, 503, error: "volume \(id) is being opened, try again",
                retryAfter: 1)
        case .failed(let reason):
            respond(
                exchange, to: request, 500,
                error: "volume \(id) cannot be used on \(url): \(reason)")
        case .absent:
            forwardWrite(request, exchange, id)
        }
    }
}

extension UploadContext {
    /// Receives a body that fits into memory, then stores the file in it.
    func receiveSmall() {
        exchange.readBody(limit: UInt64(UploadContext.memoryLimit)) { result in
            switch result {
            case .success(let body): self.take(body)
            case .failure(let error): self.bodyFailed(error)
            }
        }
    }

    /// Answers, if that is possible, a body that did not arrive whole.
    func bodyFailed(_ error: BodyError) {
        switch error {
        case .tooLarge:
            return refuse(.tooLarge(limit: service.configuration.fileSizeLimit))
        case .malformed(let text):
            service.respond(exchange, to: request, 400, error: "request body: \(text)")
        case .timedOut:
            service.respond(
                exchange, to: request, 408, error: "request body: nothing came for too long")
        case .disconnected: break
        }
        service.budget.release(reserved)
    }

    private func take(_ body: ByteBuffer) {
        guard case .multipart(let boundary) = head.form else {
            return store(UploadedFile(headers: head.raw, body: .bytes(body), digest: nil))
        }
        do {
            let part = try WholePart.find(in: body, boundary: boundary)
            store(UploadedFile(headers: part.headers, body: .bytes(part.data), digest: nil))
        } catch {
            refuse(.multipart(error))
        }
    }
}

/// Which of a multipart body's parts is the file: the first, or if that has no file name the first
/// later one that has; without any, the first.
struct PartChoice: Sendable {
    private var hasCandidate = false
    private var isSettled = false
    /// Whether the part being received is the file as far as is known.
    private(set) var takesData = false

    /// A part begins; `true` when it replaces what was taken before.
    mutating func begin(_ headers: MultipartHeaders) -> Bool {
        let isNamed = !headers.filename.isEmpty
        takesData = !isSettled && (isNamed || !hasCandidate)
        if takesData {
            hasCandidate = true
            isSettled = isNamed
        }
        return takesData
    }

    /// The part being received is complete.
    mutating func end() { takesData = false }

    /// Whether nothing that follows can matter.
    var isComplete: Bool { isSettled && !takesData }
}

/// The file in a multipart body that is in memory.
struct WholePart {
    var headers = MultipartHeaders()
    var data = ByteBuffer()

    static func find(in body: ByteBuffer, boundary: String) throws(MultipartError) -> WholePart {
        var parser = MultipartParser(boundary: boundary)
        parser.feed(body)
        var choice = PartChoice()
        var part = WholePart()
        while let event = try parser.next() {
            switch event {
            case .part(let headers):
                if choice.begin(headers) { part = WholePart(headers: headers) }
            case .data(let bytes):
                guard choice.takesData else { continue }
                if part.data.readableBytes == 0 {
                    part.data = bytes
                } else {
                    part.data.writeImmutableBuffer(bytes)
                }
            case .partEnd:
                choice.end()
                if choice.isComplete { return part }
            case .end: break
            }
        }
        try parser.finish()
        return part
    }
}
