import HTTPServer

/// Whether the copy that a client already has is still good.
enum ConditionalRequest {
    /// Whether `304 Not Modified` answers the request.
    ///
    /// The date is looked at first and suffices; a copy that is not newer is then judged by its
    /// tag.
    static func isNotModified(
        ifModifiedSince: String?, ifNoneMatch: String?, lastModified: UInt64?, checksum: UInt32
    ) -> Bool {
        if let ifModifiedSince, let lastModified, lastModified != 0,
            let since = HTTPDate.parse(ifModifiedSince.utf8.span),
            since >= Int64(clamping: lastModified)
        {
            return true
        }
        guard let ifNoneMatch else { return false }
        return matches(ifNoneMatch.utf8.span, checksum: checksum)
    }

    /// Whether a list of entity tags, weak ones included, names the one with this checksum; `*`
    /// names any.
    static func matches(_ list: Span<UInt8>, checksum: UInt32) -> Bool {
        let tag = EntityTag(checksum)
        var start = 0
        while start < list.count {
            // Tags may hold commas, so the end is looked for outside of quotation marks.
            var end = start
            var isQuoted = false
            while end < list.count, isQuoted || list[end] != 0x2c {
                if list[end] == 0x22 { isQuoted.toggle() }
                end += 1
            }
            var item = list.extracting(list.trimming(start..<end))
            if item.equals("*") { return true }
            if item.starts(with: "W/") { item = item.extracting(2..<item.count) }
            if tag.equals(item) { return true }
            start = end + 1
        }
        return false
    }
}

/// The entity tag of stored bytes: their CRC-32C, eight digits in quotation marks.
struct EntityTag {
    private var text: [10 of UInt8]

    /// The tag of a checksum.
    init(_ checksum: UInt32) {
        text = [10 of UInt8](repeating: 0x22)
        for i in 0..<8 {
            let digit = UInt8(truncatingIfNeeded: checksum >> UInt32(28 - 4 * i)) & 15
            text[i + 1] = digit < 10 ? 0x30 + digit : 0x61 + digit - 10
        }
    }

    /// Lends the bytes, quotation marks included.
    func withSpan<R>(_ body: (Span<UInt8>) -> R) -> R { body(text.span) }

    /// Whether other bytes are the same tag.
    func equals(_ other: Span<UInt8>) -> Bool {
        guard other.count == text.count else { return false }
        for i in text.indices where text[i] != other[i] { return false }
        return true
    }
}
