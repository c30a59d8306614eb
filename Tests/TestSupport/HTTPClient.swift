/// One answer of a server, its body complete.
public struct HTTPResponse: Sendable, Equatable {
    /// The status code.
    public var status: Int
    /// Header fields in the order they came.
    public var headers: [(name: String, value: String)]
    /// The body, chunked coding removed, content coding not.
    public var body: [UInt8]
    /// The server closes the connection after this answer.
    public var closes: Bool

    /// The body as text.
    public var text: String { String(decoding: body, as: UTF8.self) }

    /// The value of the first field of this name, in any case.
    public subscript(name: String) -> String? {
        headers.first { $0.name.lowercased() == name.lowercased() }?.value
    }

    /// Equal status, fields in order and body.
    public static func == (left: Self, right: Self) -> Bool {
        left.status == right.status && left.body == right.body
            && left.headers.elementsEqual(right.headers) { $0 == $1 }
    }
}

extension HTTPConnection {
    /// Reads one answer.
    ///
    /// - Parameter toHead: The request was HEAD: no body follows whatever the length says.
    public func readResponse(toHead: Bool = false) throws(HTTPClientError) -> HTTPResponse {
        while true {
            let status = try readStatus()
            let headers = try readHeaders()
            if (100..<200).contains(status) { continue }
            var response = HTTPResponse(status: status, headers: headers, body: [], closes: false)
            response.closes = response["connection"]?.lowercased() == "close"
            if toHead || status == 204 || status == 304 { return response }
            if response["transfer-encoding"]?.lowercased() == "chunked" {
                response.body = try readChunks()
            } else if let length = response["content-length"] {
                guard let count = Int(length), count >= 0 else {
                    throw .malformed("Content-Length: \(length)")
                }
                response.body = try readBytes(count)
            } else {
                response.body = try readUntilClosed()
                response.closes = true
            }
            return response
        }
    }

    private func readStatus() throws(HTTPClientError) -> Int {
        let line = try readLine()
        let parts = line.split(separator: " ", maxSplits: 2)
        guard parts.count >= 2, parts[0].hasPrefix("HTTP/1."), let status = Int(parts[1]) else {
            throw .malformed("status line \"\(line)\"")
        }
        return status
    }

    private func readHeaders() throws(HTTPClientError) -> [(name: String, value: String)] {
        var headers: [(name: String, value: String)] = []
        while true {
            let line = try readLine()
            if line.isEmpty { return headers }
            guard let colon = line.firstIndex(of: ":") else {
                throw .malformed("header line \"\(line)\"")
            }
            let value = line[line.index(after: colon)...].drop { $0 == " " }
            headers.append((String(line[..<colon]), String(value)))
        }
    }

    private func readChunks() throws(HTTPClientError) -> [UInt8] {
        var body: [UInt8] = []
        while true {
            let line = try readLine()
            guard let count = Int(line.prefix { $0 != ";" }, radix: 16) else {
                throw .malformed("chunk size \"\(line)\"")
            }
            if count == 0 { break }
            body += try readBytes(count)
            _ = try readLine()
        }
        while try !readLine().isEmpty {}
        return body
    }
}

/// A client that keeps one connection open and opens a new one when the server closed it.
///
/// Blocking; one thread.
public final class HTTPClient {
    /// The port of 127.0.0.1 it talks to.
    public let port: Int
    private let timeoutSeconds: Int
    private var connection: HTTPConnection?

    /// Does not connect yet.
    public init(port: Int, timeoutSeconds: Int = 20) {
        self.port = port
        self.timeoutSeconds = timeoutSeconds
    }

    /// Sends a request and reads the whole answer.
    ///
    /// - Parameters:
    ///   - method: Any token.
    ///   - path: Path and query as they go on the wire.
    ///   - headers: Sent in this order after `Host`; `Content-Length` is added for a body.
    ///   - body: `nil` sends none.
    public func request(
        _ method: String, _ path: String, headers: [(String, String)] = [], body: [UInt8]? = nil
    ) throws(HTTPClientError) -> HTTPResponse {
        var head = "\(method) \(path) HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\n"
        for (name, value) in headers { head += "\(name): \(value)\r\n" }
        if let body { head += "Content-Length: \(body.count)\r\n" }
        let bytes = Array((head + "\r\n").utf8) + (body ?? [])
        if let open = connection {
            do {
                return try exchange(bytes, on: open, method)
            } catch .timedOut(let what) {
                connection = nil
                throw .timedOut(what)
            } catch {
                connection = nil  // closed between two requests: a new connection decides
            }
        }
        let fresh = try HTTPConnection(port: port, timeoutSeconds: timeoutSeconds)
        connection = fresh
        return try exchange(bytes, on: fresh, method)
    }

    private func exchange(
        _ bytes: [UInt8], on open: HTTPConnection, _ method: String
    ) throws(HTTPClientError) -> HTTPResponse {
        try open.send(bytes)
        let response = try open.readResponse(toHead: method == "HEAD")
        if response.closes { connection = nil }
        return response
    }

    /// GET.
    public func get(
        _ path: String, headers: [(String, String)] = []
    ) throws(HTTPClientError) -> HTTPResponse {
        try request("GET", path, headers: headers)
    }

    /// HEAD.
    public func head(_ path: String) throws(HTTPClientError) -> HTTPResponse {
        try request("HEAD", path)
    }

    /// DELETE.
    public func delete(_ path: String) throws(HTTPClientError) -> HTTPResponse {
        try request("DELETE", path)
    }

    /// Uploads as `multipart/form-data`.
    public func upload(
        _ path: String, _ part: MultipartFile, headers: [(String, String)] = []
    ) throws(HTTPClientError) -> HTTPResponse {
        let type = ("Content-Type", "multipart/form-data; boundary=\(MultipartFile.boundary)")
        return try request("POST", path, headers: [type] + headers, body: part.encoded)
    }
}

/// One file as a multipart form.
public struct MultipartFile: Sendable {
    /// Separates the parts; must not occur in the data.
    public static let boundary = "----test-boundary-7c1f0e5a"
    /// The file name; `nil` sends none.
    public var name: String?
    /// The part's `Content-Type`; `nil` sends none.
    public var type: String?
    /// Further header lines of the part.
    public var headers: [(String, String)]
    /// The content.
    public var data: [UInt8]

    /// A file of this content.
    public init(
        _ data: [UInt8], name: String? = nil, type: String? = nil,
        headers: [(String, String)] = []
    ) {
        self.data = data
        self.name = name
        self.type = type
        self.headers = headers
    }

    /// The request body.
    public var encoded: [UInt8] {
        var head = "--\(Self.boundary)\r\nContent-Disposition: form-data; name=\"file\""
        if let name { head += "; filename=\"\(name)\"" }
        head += "\r\n"
        if let type { head += "Content-Type: \(type)\r\n" }
        for (field, value) in headers { head += "\(field): \(value)\r\n" }
        return Array((head + "\r\n").utf8) + data
            + Array("\r\n--\(Self.boundary)--\r\n".utf8)
    }
}
