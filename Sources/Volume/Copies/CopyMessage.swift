import FoundationEssentials
import HTTPClient
import HTTPServer
import Model
import NIOCore
import NIOPosix
import Needles

/// What another holder is told so that it stores the very bytes and fields that are stored here.
///
/// Servers of either kind understand it: an upload with `type=replicate`, raw where that says
/// everything, else a form.
struct CopyMessage: Sendable {
    /// Where the data is.
    enum Body: Sendable {
        case bytes(ByteBuffer)
        case spool(Spool)
        case file(FileBody)

        var length: UInt64 {
            switch self {
            case .bytes(let buffer): UInt64(buffer.readableBytes)
            case .spool(let spool): spool.length
            case .file(let file): file.length
            }
        }
    }

    /// Bodies up to this size leave in one write with the head.
    static let joinedBytes = 64 << 10
    /// How long a holder may be silent over a change.
    static let patience = TimeAmount.seconds(10)
    /// The same for a large body, which it first has to bring to its disk.
    static let largePatience = TimeAmount.seconds(60)

    var fileID: FileID
    var body: Body
    var name = ""
    var mime = ""
    var isCompressed = false
    var isChunkManifest = false
    var lastModified: UInt64?
    var ttl = TimeToLive.none
    /// JSON object of strings.
    var pairs: String?
    var forcesSync = false
    /// CRC-32C of the data.
    var checksum: UInt32

    /// What an upload stores; `name` and `mime` as the client sent them, also those too long to
    /// keep.
    init(_ upload: PreparedUpload, head: UploadHead, checksum: UInt32) {
        fileID = head.fileID
        switch upload.content.body {
        case .bytes(let bytes): body = .bytes(bytes)
        case .spool(let spool): body = .spool(spool)
        }
        name = upload.sentName
        mime = upload.sentMime
        isCompressed = upload.content.isCompressed
        isChunkManifest = upload.content.isChunkManifest
        lastModified = upload.content.lastModified
        ttl = upload.content.ttl
        pairs = upload.content.pairs
        forcesSync = head.forcesSync
        self.checksum = checksum
    }

    /// What is stored.
    init(_ needle: StoredNeedle, id: FileID) {
        fileID = id
        switch needle.body {
        case .bytes(let bytes): body = .bytes(bytes)
        case .file(let file): body = .file(file)
        }
        name = needle.name.map { String(buffer: $0) } ?? ""
        mime = needle.mime.map { String(buffer: $0) } ?? ""
        isCompressed = needle.isCompressed
        isChunkManifest = needle.isChunkManifest
        lastModified = needle.lastModified
        ttl = needle.ttl
        pairs = needle.pairs.map { String(buffer: $0) }
        checksum = needle.checksum
    }

    /// Whether a raw body says everything.
    ///
    /// It takes its name from the path when it has none, and a manifest a type from its name;
    /// control characters can be told only in a form. A form, on the other hand, cannot tell the
    /// unknown type.
    private var isRaw: Bool {
        !name.isEmpty && !(mime.isEmpty && isChunkManifest) && !hasControls
    }

    private var hasControls: Bool { name.utf8.contains { $0 < 0x20 || $0 == 0x7f } }

    /// The request for one holder.
    func request(to address: String, token: String?, pool: NIOThreadPool) -> ClientRequest {
        isRaw
            ? rawRequest(to: address, token: token, pool: pool)
            : formRequest(to: address, token: token, pool: pool)
    }

    private func rawRequest(
        to address: String, token: String?, pool: NIOThreadPool
    ) -> ClientRequest {
        let length = body.length
        var head = start("PUT", to: address, token: token, length: length)
        if !mime.isEmpty { ClientRequest.addLine("Content-Type", mime, to: &head) }
        if isCompressed { head.writeStaticString("Content-Encoding: gzip\r\n") }
        head.writeStaticString("Content-Disposition: inline; ")
        writeFilename(to: &head)
        head.writeStaticString("\r\n\r\n")
        return finish(address, head, tail: ByteBuffer(), pool: pool)
    }

    private func formRequest(
        to address: String, token: String?, pool: NIOThreadPool
    ) -> ClientRequest {
        let boundary = "weed" + String(UInt64.random(in: .min ... .max), radix: 16) + "copy"
        var part = ByteBuffer()
        part.writeString("--\(boundary)\r\nContent-Disposition: form-data; name=\"file\"; ")
        writeFilename(to: &part)
        part.writeStaticString("\r\n")
        if !mime.isEmpty { ClientRequest.addLine("Content-Type", mime, to: &part) }
        if isCompressed { part.writeStaticString("Content-Encoding: gzip\r\n") }
        part.writeStaticString("\r\n")
        let tail = ByteBuffer(string: "\r\n--\(boundary)--\r\n")
        let length = body.length + UInt64(part.readableBytes + tail.readableBytes)
        var head = start("POST", to: address, token: token, length: length)
        head.writeString("Content-Type: multipart/form-data; boundary=\(boundary)\r\n\r\n")
        head.writeBuffer(&part)
        return finish(address, head, tail: tail, pool: pool)
    }

    private func start(
        _ method: String, to address: String, token: String?, length: UInt64
    ) -> ByteBuffer {
        var head = ByteBufferAllocator().buffer(
            capacity: 512 + (length <= UInt64(CopyMessage.joinedBytes) ? Int(length) : 0))
        head.writeString(method)
        head.writeStaticString(" /")
        head.writeString(fileID.description)
        head.writeStaticString("?type=replicate")
        if let lastModified, lastModified > 0 { head.writeString("&ts=\(lastModified)") }
        if !ttl.isNone { head.writeString("&ttl=\(ttl)") }
        if isChunkManifest { head.writeStaticString("&cm=true") }
        if forcesSync { head.writeStaticString("&fsync=true") }
        head.writeStaticString(" HTTP/1.1\r\nHost: ")
        head.writeString(address)
        head.writeStaticString("\r\nContent-Length: ")
        head.writeString(String(length))
        head.writeStaticString("\r\n")
        if let token { ClientRequest.addLine("Authorization", "Bearer \(token)", to: &head) }
        if let pairs { writePairs(pairs, to: &head) }
        return head
    }

    private func writePairs(_ json: String, to head: inout ByteBuffer) {
        guard let pairs = try? JSONDecoder().decode([String: String].self, from: Data(json.utf8))
        else { return }
        for name in pairs.keys.sorted() {
            ClientRequest.addLine("Seaweed-\(name)", pairs[name] ?? "", to: &head)
        }
    }

    /// `filename="a.txt"`, or the extended form for what cannot stand in a header.
    private func writeFilename(to head: inout ByteBuffer) {
        let bytes = name.utf8
        guard !hasControls else {
            head.writeStaticString("filename*=utf-8''")
            let hex = Array("0123456789ABCDEF".utf8)
            for byte in bytes {
                switch byte {
                case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2d, 0x2e, 0x5f:
                    head.writeInteger(byte)
                default: head.writeBytes([0x25, hex[Int(byte >> 4)], hex[Int(byte & 15)]])
                }
            }
            return
        }
        head.writeStaticString("filename=\"")
        if bytes.contains(where: { $0 == 0x22 || $0 == 0x5c }) {
            for byte in bytes {
                if byte == 0x22 || byte == 0x5c { head.writeInteger(UInt8(0x5c)) }
                head.writeInteger(byte)
            }
        } else {
            head.writeString(name)
        }
        head.writeStaticString("\"")
    }

    private func finish(
        _ address: String, _ head: ByteBuffer, tail: ByteBuffer, pool: NIOThreadPool
    ) -> ClientRequest {
        var head = head
        var request: ClientRequest
        switch body {
        case .bytes(let bytes) where bytes.readableBytes <= CopyMessage.joinedBytes:
            head.writeImmutableBuffer(bytes)
            head.writeImmutableBuffer(tail)
            request = ClientRequest(address: address, head: head)
        case .bytes(let bytes):
            request = ClientRequest(
                address: address, head: head, body: .bytes(bytes, tail: tail))
        case .spool, .file:
            let source = CopySource(body, tail: tail, pool: pool)
            request = ClientRequest(address: address, head: head, body: .source(source))
        }
        request.patience =
            body.length <= UInt64(UploadContext.memoryLimit)
            ? CopyMessage.patience : CopyMessage.largePatience
        return request
    }

    /// Why an answer does not mean that the holder has the file; `nil` when it does.
    func problem(_ answer: ClientAnswer) -> String? {
        guard [200, 201, 204].contains(answer.status) else {
            return CopyMessage.reason(answer)
        }
        let expected = checksum
        let isSame = answer.head.withHeader("etag") { tag -> Bool in
            guard let tag, tag.count == 10 else { return false }
            var value: UInt32 = 0
            for i in 1...8 {
                switch tag[i] {
                case 0x30...0x39: value = value << 4 | UInt32(tag[i] - 0x30)
                case 0x61...0x66: value = value << 4 | UInt32(tag[i] - 0x57)
                default: return false
                }
            }
            return value == expected
        }
        guard !isSame else { return nil }
        return "it stored other bytes: expected \(PreparedUpload.eTag(checksum)), found "
            + (answer.head.header("etag") ?? "no ETag")
    }

    /// What an answer says went wrong.
    static func reason(_ answer: ClientAnswer) -> String {
        struct Failure: Decodable { var error: String? }
        let data = Data(answer.body.readableBytesView.prefix(4096))
        let text = (try? JSONDecoder().decode(Failure.self, from: data))?.error ?? ""
        return text.isEmpty ? "it answered \(answer.status)" : text
    }
}

/// Reads a body piece by piece, and what ends it, for one holder.
private final class CopySource: BodySource {
    /// Bytes read at a time.
    private static let pieceBytes = 512 << 10

    private let body: CopyMessage.Body
    private let tail: ByteBuffer
    private let pool: NIOThreadPool
    private var position: UInt64 = 0
    private var isEnded = false

    init(_ body: CopyMessage.Body, tail: ByteBuffer, pool: NIOThreadPool) {
        self.body = body
        self.tail = tail
        self.pool = pool
    }

    func next(on loop: any EventLoop) -> EventLoopFuture<ByteBuffer?> {
        guard position < body.length else {
            defer { isEnded = true }
            let isLast = isEnded || tail.readableBytes == 0
            return loop.makeSucceededFuture(isLast ? nil : tail)
        }
        let start = position
        position += min(UInt64(CopySource.pieceBytes), body.length - start)
        let count = Int(position - start)
        return pool.runIfActive(eventLoop: loop) { [body] in
            let piece: ByteBuffer =
                switch body {
                case .bytes: ByteBuffer()
                case .spool(let spool): try spool.read(at: start, upTo: count)
                case .file(let file): try file.read(at: start, count: count)
                }
            guard piece.readableBytes == count else { throw ContentEndedEarly(offset: start) }
            return piece
        }
    }

    func finished() {}
}
