/// The method of a request.
public enum HTTPMethod: Sendable, Hashable, CustomStringConvertible {
    /// The methods this server's users ask for.
    case get, head, post, put, delete, options
    /// Any other token.
    case other(String)

    /// The method as it stands in a request line.
    public var description: String {
        switch self {
        case .get: "GET"
        case .head: "HEAD"
        case .post: "POST"
        case .put: "PUT"
        case .delete: "DELETE"
        case .options: "OPTIONS"
        case .other(let name): name
        }
    }

    init(_ bytes: borrowing Span<UInt8>, _ range: Range<Int>) {
        // Methods are case-sensitive, unlike header names.
        func isExactly(_ text: StaticString) -> Bool {
            guard range.count == text.utf8CodeUnitCount else { return false }
            for offset in 0..<range.count {
                // In bounds: `offset` is below the literal's length, checked above.
                guard unsafe bytes[range.lowerBound + offset] == text.utf8Start[offset] else {
                    return false
                }
            }
            return true
        }
        if isExactly("GET") {
            self = .get
        } else if isExactly("POST") {
            self = .post
        } else if isExactly("PUT") {
            self = .put
        } else if isExactly("HEAD") {
            self = .head
        } else if isExactly("DELETE") {
            self = .delete
        } else if isExactly("OPTIONS") {
            self = .options
        } else {
            self = .other(text(bytes, range))
        }
    }
}
