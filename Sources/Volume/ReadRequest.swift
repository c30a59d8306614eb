import HTTPServer

/// What a read asks for, as far as the answer depends on it.
struct ReadRequest: Sendable {
    /// HEAD: the head of the answer only.
    var isHead = false
    /// The `Range` header.
    var range: String?
    /// The `If-Modified-Since` header.
    var ifModifiedSince: String?
    /// The `If-None-Match` header.
    var ifNoneMatch: String?
    /// Whether the client takes gzip.
    ///
    /// Looked up only for files that are stored so.
    var acceptsGzip = false
    /// Whether the request comes from a page of another site.
    var hasOrigin = false
    /// The file name in the URL; empty when there is none.
    var name = ""
    /// Parameters; `nil` when there are none.
    var query: ReadQuery?

    /// A plain GET.
    init() {}

    /// What a request asks for.
    ///
    /// `urlName` is the last part of `/3/01637037d6/name.jpg`, or what follows the file id in
    /// `3,01637037d6.jpg`; an extension alone is no name.
    init(_ request: HTTPRequest, urlName: String?) {
        isHead = request.method == .head
        range = request.header("range")
        ifModifiedSince = request.header("if-modified-since")
        ifNoneMatch = request.header("if-none-match")
        hasOrigin = request.withHeader("origin") { $0 != nil }
        if let urlName, !urlName.hasPrefix(".") { name = urlName }
        if request.hasQuery { query = ReadQuery(request.query) }
    }

    /// Whether a request's `Accept-Encoding` names gzip anywhere; weights are ignored, as by the
    /// original.
    static func acceptsGzip(_ request: HTTPRequest) -> Bool {
        request.withHeader("accept-encoding") { value in
            guard let value else { return false }
            return contains(value, "gzip")
        }
    }

    /// Whether a text occurs in another.
    static func contains(_ text: Span<UInt8>, _ part: StaticString) -> Bool {
        let length = part.utf8CodeUnitCount
        guard text.count >= length else { return false }
        for start in 0...(text.count - length)
        where text.extracting(start..<text.count).starts(with: part) {
            return true
        }
        return false
    }
}

/// The parameters of a read.
struct ReadQuery: Sendable {
    /// Show the file although it was deleted, while its bytes are still there.
    var includesDeleted = false
    /// Answer with the chunk manifest, not with what it describes.
    var wantsManifest = false
    /// Have browsers save the file, not show it.
    var isDownload = false
    /// Another server sent this client here, or asks for it.
    var isProxied = false
    /// The collection, for the address of another server.
    var collection = ""
    /// Headers that the client wants otherwise.
    var overrides: [(header: StaticString, value: String)] = []

    /// The parameters that can replace headers.
    static let overridable: [(parameter: String, header: StaticString)] = [
        ("response-content-type", "Content-Type"),
        ("response-content-disposition", "Content-Disposition"),
        ("response-content-encoding", "Content-Encoding"),
        ("response-content-language", "Content-Language"),
        ("response-cache-control", "Cache-Control"),
        ("response-expires", "Expires"),
    ]

    /// No parameters.
    init() {}

    /// The parameters of a query.
    init(_ query: Query) {
        self.init(query.items)
    }

    /// The parameters among names and values; the first of each name counts.
    init(_ items: [(name: String, value: String)]) {
        func first(_ name: String) -> String? { items.first { $0.name == name }?.value }
        includesDeleted = first("readDeleted") == "true"
        wantsManifest = first("cm") == "false"
        isDownload = ["1", "t", "T", "true", "TRUE", "True"].contains(first("dl") ?? "")
        isProxied = first("proxied") == "true"
        collection = first("collection") ?? ""
        for (parameter, header) in ReadQuery.overridable {
            if let value = first(parameter), !value.isEmpty { overrides.append((header, value)) }
        }
    }
}
