internal import FoundationEssentials
internal import NIOCore

/// Headers that were stored with a file.
enum ReadPairs {
    /// Headers that describe the answer itself, or the connection; a stored one never replaces
    /// them.
    private static let reserved: Set<String> = [
        "accept-ranges", "connection", "content-length", "content-range", "date", "etag",
        "keep-alive", "last-modified", "proxy-connection", "server", "te", "trailer",
        "transfer-encoding", "upgrade", "x-file-store",
    ]

    /// Reads the JSON object of strings that is stored, in the order of its keys.
    ///
    /// Anything else is no headers; names that no header can have are left out.
    static func parse(_ json: ByteBuffer?) -> [(name: String, value: String)] {
        guard let json, json.readableBytes > 0 else { return [] }
        let data = unsafe json.withUnsafeReadableBytes { unsafe Data($0) }
        guard let pairs = try? JSONDecoder().decode([String: String].self, from: data) else {
            return []
        }
        return pairs.filter { isName($0.key) && !reserved.contains($0.key.lowercased()) }
            .sorted { $0.key < $1.key }.map { (name: $0.key, value: $0.value) }
    }

    /// Whether a text is a token of RFC 9110, section 5.6.2.
    static func isName(_ text: String) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x21, 0x23...0x27, 0x2a, 0x2b, 0x2d,
                    0x2e, 0x5e...0x60, 0x7c, 0x7e:
                    true
                default: false
                }
            }
    }
}
