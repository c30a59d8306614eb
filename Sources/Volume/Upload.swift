import HTTPServer
import Model
import NIOCore
import NIOPosix
import Needles
import Platform
import Wire

/// The file taken out of a request's body.
struct UploadedFile: Sendable {
    var headers: MultipartHeaders
    var body: NeedleContent.Body
    /// Size and MD5 of what is inside, when that was learnt while the bytes came in.
    var digest: (size: UInt64, md5: String?)?
}

/// Why an upload is refused before it reaches a volume.
enum UploadError: Error, Sendable, Equatable, CustomStringConvertible {
    case tooLarge(limit: UInt64)
    case wrongMD5(expected: String, found: String, size: UInt64)
    case multipart(MultipartError)

    /// The message as clients know it.
    var description: String {
        switch self {
        case .tooLarge(let limit): "file over the limited \(limit) bytes"
        case .wrongMD5(let expected, let found, let size):
            "Content-MD5 did not match md5 of file data expected [\(expected)] received [\(found)] "
                + "size \(size)"
        case .multipart(let error): error.description
        }
    }
}

/// What goes to the volume, and what the client is told when it is stored.
///
/// A class, like ``UploadContext``: closures hand it from thread to thread, and one reference costs
/// less than a copy of every field.
final class PreparedUpload: Sendable {
    let content: NeedleContent
    /// Bytes of the file, uncompressed.
    let size: UInt64
    let name: String
    let mime: String
    /// Name and type also when they are too long to keep.
    let sentName: String
    let sentMime: String
    /// The MD5 the client sent, checked; empty without one.
    let contentMD5: String

    /// Checks the MD5, finds name and type, compresses.
    ///
    /// Takes time in proportion to the body. `time` (unix seconds) is the last modification when the
    /// client told none; without it the volume takes its own time.
    init(_ file: UploadedFile, head: UploadHead, time: UInt64? = nil) throws(UploadError) {
        let headers = file.headers
        let expected = headers.contentMD5.isEmpty ? head.contentMD5 : headers.contentMD5
        let digest = PreparedUpload.digest(
            of: file, needsMD5: !expected.isEmpty, isReplicate: head.isReplicate)
        if !expected.isEmpty, let found = digest.md5, found != expected {
            throw .wrongMD5(expected: expected, found: found, size: digest.size)
        }
        let name = UploadRules.baseName(headers.filename)
        let mime = UploadRules.mime(headers, name: name, head: head)
        var content = NeedleContent(body: file.body)
        content.isCompressed = headers.isGzip
        if case .bytes(let bytes) = file.body, !headers.isGzip, !head.isReplicate,
            PreparedUpload.isCompressible(bytes, mime: mime),
            let compressed = Gzip.compress(bytes)
        {
            content.body = .bytes(compressed)
            content.isCompressed = true
        }
        content.isChunkManifest = head.isChunkManifest
        content.name = name.utf8.count <= UploadRules.textLimit ? name : nil
        content.mime = mime.utf8.count <= UploadRules.textLimit ? mime : nil
        content.lastModified = head.lastModified ?? time
        content.ttl = head.ttl
        content.pairs = head.pairs
        self.content = content
        self.name = content.name ?? ""
        self.mime = content.mime ?? ""
        sentName = name
        sentMime = mime
        size = digest.size
        contentMD5 = expected
    }

    private static func digest(
        of file: UploadedFile, needsMD5: Bool, isReplicate: Bool
    ) -> (size: UInt64, md5: String?) {
        if let digest = file.digest { return digest }
        guard case .bytes(let bytes) = file.body, needsMD5 || file.headers.isGzip && !isReplicate
        else {
            // What a copy unpacks to, the server that asked for it knows.
            return (file.body.length, nil)
        }
        var digest = UploadDigest(isGzip: file.headers.isGzip, needsMD5: needsMD5)
        digest.update(bytes)
        return digest.finish()
    }

    private static func isCompressible(_ bytes: ByteBuffer, mime: String) -> Bool {
        guard bytes.readableBytes > 0 else { return false }
        guard mime.isEmpty else { return UploadRules.isCompressible(mime: mime) }
        let sniffed = unsafe bytes.withUnsafeReadableBytes { bytes in
            ContentType.sniff(unsafe Span(_unsafeBytes: bytes))
        }
        return UploadRules.isCompressible(mime: sniffed)
    }

    /// The answer's JSON, for data whose stored checksum is known.
    func json(eTag: String, pretty: Bool) -> JSONWriter {
        var json = JSONWriter(pretty: pretty)
        json.object {
            if !name.isEmpty { $0.field("name", name) }
            if size > 0 { $0.field("size", size) }
            $0.field("eTag", eTag)
            if !mime.isEmpty { $0.field("mime", mime) }
            if !contentMD5.isEmpty { $0.field("contentMd5", contentMD5) }
        }
        return json
    }

    /// A checksum as ETags write it: eight lower-case hexadecimal digits.
    static func eTag(_ checksum: UInt32) -> String {
        let digits = String(checksum, radix: 16)
        return String(repeating: "0", count: 8 - digits.utf8.count) + digits
    }
}

/// One upload under way: what belongs to it from its head to its answer.
final class UploadContext: Sendable {
    let service: VolumeService
    let request: HTTPRequest
    let exchange: Exchange
    let head: UploadHead
    let volume: Volume
    /// The other servers that get a copy.
    let holders: [String]
    /// Bytes reserved of the memory budget, given back with the answer.
    let reserved: Int

    init(
        service: VolumeService, request: HTTPRequest, exchange: Exchange, head: UploadHead,
        volume: Volume, holders: [String], reserved: Int
    ) {
        self.service = service
        self.request = request
        self.exchange = exchange
        self.head = head
        self.volume = volume
        self.holders = holders
        self.reserved = reserved
    }

    /// Bodies up to this size are held in memory; larger ones go through a spool file,
    /// uncompressed, so that memory does not grow with the size of a file and ranges of large files
    /// stay one disk read.
    static let memoryLimit = 1 << 20
    /// Bodies larger than this are hashed and compressed on a disk thread, not on the event loop.
    static let loopWorkLimit = 64 << 10
    /// Bytes that boundaries and headers of a multipart body may add to the file's.
    static let envelopeLimit: UInt64 = 1 << 20

    /// Stores a file and answers.
    ///
    /// Called on the event loop.
    func store(_ file: UploadedFile) {
        guard file.body.length <= service.configuration.fileSizeLimit else {
            return refuse(.tooLarge(limit: service.configuration.fileSizeLimit))
        }
        guard case .bytes(let bytes) = file.body,
            bytes.readableBytes > UploadContext.loopWorkLimit
        else { return prepareAndWrite(file) }
        service.diskPool.submit { state in
            guard state == .active else { return self.hop { self.stopped() } }
            self.prepareAndWrite(file)
        }
    }

    /// Answers an upload that never reaches the volume.
    ///
    /// Called on the event loop.
    func refuse(_ error: UploadError) {
        service.counters.count(service.counters.failures)
        service.respond(exchange, to: request, 400, error: error.description)
        service.budget.release(reserved)
    }

    /// Answers an upload that failed in the volume.
    ///
    /// Called on the event loop.
    func fail(_ error: NeedleError) {
        service.counters.count(service.counters.failures)
        switch error {
        case .overloaded:
            service.respond(
                exchange, to: request, 503, error: error.description, retryAfter: 1)
        case .closed: service.respond(exchange, to: request, 503, error: error.description)
        default:
            service.respond(
                exchange, to: request, 500, error: "failed to write to local disk: \(error)")
        }
        service.budget.release(reserved)
    }

    /// Answers an upload that came too late.
    ///
    /// Called on the event loop.
    func stopped() {
        service.respond(exchange, to: request, 503, error: "the server is stopping", retryAfter: 1)
        service.budget.release(reserved)
    }

    /// Runs `work` on the exchange's event loop.
    func hop(_ work: @escaping @Sendable () -> Void) {
        exchange.hop(work)
    }

    /// On the event loop or a disk thread.
    private func prepareAndWrite(_ file: UploadedFile) {
        let upload: PreparedUpload
        do {
            upload = try PreparedUpload(
                file, head: head, time: holders.isEmpty ? nil : WallClock.seconds)
        } catch {
            return hop { self.refuse(error) }
        }
        guard holders.isEmpty else { return hop { self.writeEverywhere(upload) } }
        let id = head.fileID
        let isReplicate = head.isReplicate
        if isReplicate, !service.copies.ledger.follow(id) {
            return hop { self.refuseBusy(VolumeService.isBusy) }
        }
        volume.write(id.key, cookie: id.cookie, upload.content, forceSync: head.forcesSync) {
            result in
            if isReplicate { self.service.copies.ledger.unfollow(id) }
            self.hop {
                switch result {
                case .success(let receipt): self.answer(upload, receipt)
                case .failure(let error): self.fail(error)
                }
            }
        }
    }

    /// Tells the client that the file is stored.
    ///
    /// Called on the event loop.
    func answer(_ upload: PreparedUpload, _ receipt: WriteReceipt) {
        let eTag = PreparedUpload.eTag(receipt.checksum)
        let json = upload.json(eTag: eTag, pretty: request.wantsPretty)
        service.counters.count(service.counters.writes)
        service.respond(exchange, to: request, 201, json: json) {
            $0.add("Etag", "\"\(eTag)\"")
            $0.add("Content-Md5", upload.contentMD5)
        }
        service.budget.release(reserved)
    }
}
