import HTTPServer
import Model
import NIOCore
import Wire

/// What a request says of an upload beside its body.
struct UploadHead: Sendable {
    /// How the body is packed.
    enum Form: Sendable, Equatable {
        /// The body is the file.
        case raw
        /// The file is a part; the boundary between parts.
        case multipart(boundary: String)
    }

    let fileID: FileID
    let form: Form
    /// Headers of a raw body in the shape of a part's.
    let raw: MultipartHeaders
    /// The request's own `Content-MD5`, for parts that have none.
    let contentMD5: String
    var lastModified: UInt64?
    var ttl = TimeToLive.none
    var isChunkManifest = false
    var forcesSync = false
    var isReplicate = false
    let pairs: String?

    init(_ request: HTTPRequest, fileID: FileID) throws(MultipartError) {
        self.fileID = fileID
        form = try UploadHead.form(of: request)
        contentMD5 = request.header("content-md5") ?? ""
        raw = form == .raw ? UploadHead.rawHeaders(request) : MultipartHeaders()
        pairs = Pairs.json(of: request)
        guard request.hasQuery else { return }
        let query = request.query
        if let text = query["ts"], let seconds = UInt64(text), seconds > 0 {
            lastModified = seconds
        }
        if let text = query["ttl"], !text.isEmpty {
            // the original takes it for none: a typo would keep the file for ever
            guard let parsed = try? TimeToLive(parsing: text) else { throw .timeToLive(text) }
            ttl = parsed
        }
        isChunkManifest = UploadHead.isTrue(query["cm"])
        forcesSync = UploadHead.isTrue(query["fsync"])
        isReplicate = query["type"] == "replicate"
    }

    private static func isTrue(_ value: String?) -> Bool {
        switch value {
        case "true", "1", "t", "T", "TRUE", "True": true
        default: false
        }
    }

    /// POST with a form type, or without any, is multipart; everything else is raw.
    private static func form(of request: HTTPRequest) throws(MultipartError) -> Form {
        guard request.method == .post else { return .raw }
        let isForm = request.withHeader("content-type") { type -> Bool in
            guard let type, !type.isEmpty else { return true }
            return type.contains("form-data")
        }
        guard isForm else { return .raw }
        guard let text = request.header("content-type"), !text.isEmpty else { throw .notMultipart }
        let type = MediaParameters(text)
        guard type.value == "multipart/form-data" else { throw .notMultipart }
        guard let boundary = type["boundary"], !boundary.isEmpty,
            boundary.utf8.count <= MultipartParser.boundaryLimit
        else { throw .noBoundary }
        return .multipart(boundary: boundary)
    }

    private static func rawHeaders(_ request: HTTPRequest) -> MultipartHeaders {
        var headers = MultipartHeaders()
        headers.contentType = request.header("content-type") ?? ""
        headers.isGzip = request.withHeader("content-encoding") { $0?.equals("gzip") ?? false }
        if let disposition = request.header("content-disposition") {
            let parameters = MediaParameters(disposition)
            headers.filename = parameters["filename"] ?? parameters["name"] ?? ""
        }
        if headers.filename.isEmpty {
            headers.filename = request.decodedPath
        }
        return headers
    }
}

extension Span<UInt8> {
    /// Whether an ASCII text occurs in the bytes.
    func contains(_ text: StaticString) -> Bool {
        let length = text.utf8CodeUnitCount
        guard length <= count else { return false }
        for start in 0...(count - length) where extracting(start..<start + length).equals(text) {
            return true
        }
        return false
    }
}

/// Request headers `Seaweed-Name: value` that are kept with a file.
enum Pairs {
    /// Bytes of JSON above which pairs are dropped.
    static let limit = 64 << 10
    private static let prefix = "seaweed-"

    /// The pairs of a request as JSON; `nil` without any.
    static func json(of request: HTTPRequest) -> String? {
        // nearly no upload has any: then no header is made a string
        request.hasHeader(prefix: "seaweed-") ? json(of: request.headers) : nil
    }

    /// The pairs among headers as JSON: names without the prefix, in canonical case, sorted, the
    /// first value of each.
    ///
    /// `nil` without any, or when they are too long to keep.
    static func json(of headers: [(name: String, value: String)]) -> String? {
        var pairs: [String: String] = [:]
        for (name, value) in headers {
            let bytes = name.utf8
            guard bytes.count > prefix.utf8.count,
                zip(bytes, prefix.utf8).allSatisfy({ $0 | 0x20 == $1 || $0 == $1 })
            else { continue }
            let key = canonical(bytes.dropFirst(prefix.utf8.count))
            if pairs[key] == nil { pairs[key] = value }
        }
        guard !pairs.isEmpty else { return nil }
        var json = JSONWriter()
        json.object { json in
            for key in pairs.keys.sorted() { json.field(key, pairs[key] ?? "") }
        }
        return json.bytes.count < limit ? json.text : nil
    }

    /// Upper case at the start and after every dash, lower case elsewhere.
    private static func canonical(_ name: Substring.UTF8View) -> String {
        var startsWord = true
        var text: [UInt8] = []
        for byte in name {
            switch byte {
            case 0x61...0x7a where startsWord: text.append(byte - 0x20)
            case 0x41...0x5a where !startsWord: text.append(byte + 0x20)
            default: text.append(byte)
            }
            startsWord = byte == 0x2d
        }
        return String(decoding: text, as: UTF8.self)
    }
}
