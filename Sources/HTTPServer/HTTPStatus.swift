/// A status line's code; the reason phrase follows from it.
public struct HTTPStatus: Sendable, Hashable, ExpressibleByIntegerLiteral {
    /// The code, 100 to 599.
    public let code: Int

    /// A status.
    public init(integerLiteral value: Int) { code = value }

    /// A status from a code known at run time.
    public init(_ code: Int) { self.code = code }

    /// The reason phrase, as RFC 9110 names it; `Unknown` for codes it does not list.
    public var reason: String { "\(reasonPhrase)" }

    /// Whether an answer with this code never has a body.
    var isBodyless: Bool { code == 204 || code == 304 || code < 200 }

    var reasonPhrase: StaticString {
        code < 400 ? successPhrase : code < 500 ? clientErrorPhrase : serverErrorPhrase
    }

    private var successPhrase: StaticString {
        switch code {
        case 100: "Continue"
        case 101: "Switching Protocols"
        case 200: "OK"
        case 201: "Created"
        case 202: "Accepted"
        case 203: "Non-Authoritative Information"
        case 204: "No Content"
        case 205: "Reset Content"
        case 206: "Partial Content"
        case 300: "Multiple Choices"
        case 301: "Moved Permanently"
        case 302: "Found"
        case 303: "See Other"
        case 304: "Not Modified"
        case 307: "Temporary Redirect"
        case 308: "Permanent Redirect"
        default: "Unknown"
        }
    }

    private var clientErrorPhrase: StaticString {
        switch code {
        case 400: "Bad Request"
        case 401: "Unauthorized"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 406: "Not Acceptable"
        case 408: "Request Timeout"
        case 409: "Conflict"
        case 410: "Gone"
        case 411: "Length Required"
        case 412: "Precondition Failed"
        case 413: "Content Too Large"
        case 414: "URI Too Long"
        case 415: "Unsupported Media Type"
        case 416: "Range Not Satisfiable"
        case 417: "Expectation Failed"
        case 421: "Misdirected Request"
        case 422: "Unprocessable Content"
        case 426: "Upgrade Required"
        case 428: "Precondition Required"
        case 429: "Too Many Requests"
        case 431: "Request Header Fields Too Large"
        default: "Unknown"
        }
    }

    private var serverErrorPhrase: StaticString {
        switch code {
        case 500: "Internal Server Error"
        case 501: "Not Implemented"
        case 502: "Bad Gateway"
        case 503: "Service Unavailable"
        case 504: "Gateway Timeout"
        case 505: "HTTP Version Not Supported"
        case 507: "Insufficient Storage"
        default: "Unknown"
        }
    }
}
