import Model
import NIOCore

/// How the name, the type and the compression of a stored file follow from what was sent.
enum UploadRules {
    /// Bytes of a name or a type; longer ones are not stored.
    static let textLimit = 255

    /// The type that says nothing.
    private static let unknown = "application/octet-stream"

    /// The last element of a path whose separators are `/` or `\`; empty when there is none.
    static func baseName(_ path: String) -> String {
        let bytes = path.utf8
        guard let last = bytes.lastIndex(where: { !isSeparator($0) }) else { return "" }
        guard let before = bytes[...last].lastIndex(where: isSeparator) else {
            return bytes.index(after: last) == bytes.endIndex ? path : String(path[...last])
        }
        return String(path[bytes.index(after: before)...last])
    }

    private static func isSeparator(_ byte: UInt8) -> Bool { byte == 0x2f || byte == 0x5c }

    /// The content type to store; empty for none.
    ///
    /// A part's type counts unless it says nothing; a raw body's counts always. Without one, the
    /// extension of the name decides. A manifest sent as a part has none.
    static func mime(_ headers: MultipartHeaders, name: String, head: UploadHead) -> String {
        let isRaw = head.form == .raw
        if head.isChunkManifest, !isRaw { return "" }
        let sent = headers.contentType
        if !sent.isEmpty, isRaw || sent != unknown { return sent }
        guard let implied = ContentType.forName(name.utf8.span), implied != unknown else {
            return ""
        }
        return implied
    }

    /// Whether bytes of a type are worth an attempt to compress them; the type without parameters
    /// counts.
    static func isCompressible(mime: String) -> Bool {
        let all = mime.utf8.span
        var end = 0
        while end < all.count, all[end] != 0x3b { end += 1 }
        var start = 0
        while start < end, isBlank(all[start]) { start += 1 }
        while start < end, isBlank(all[end - 1]) { end -= 1 }
        let type = all.extracting(start..<end)
        if begins(type, "text/") { return true }
        if begins(type, "application/") { return ends(type, "xml") || ends(type, "script") }
        return isSame(whole: type, "audio/wav") || isSame(whole: type, "audio/x-wav")
            || isSame(whole: type, "audio/wave")
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

    private static func begins(_ text: Span<UInt8>, _ prefix: StaticString) -> Bool {
        let length = prefix.utf8CodeUnitCount
        return text.count >= length && isSame(text.extracting(0..<length), prefix)
    }

    private static func ends(_ text: Span<UInt8>, _ suffix: StaticString) -> Bool {
        let length = suffix.utf8CodeUnitCount
        return text.count >= length
            && isSame(text.extracting(text.count - length..<text.count), suffix)
    }

    private static func isSame(whole text: Span<UInt8>, _ other: StaticString) -> Bool {
        text.count == other.utf8CodeUnitCount && isSame(text, other)
    }

    /// Compares with lower-case text of the same length; letters of either case are the same.
    private static func isSame(_ text: Span<UInt8>, _ other: StaticString) -> Bool {
        other.withUTF8Buffer { other in
            for index in other.indices {
                let byte = text[index]
                let lower = byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte
                if unsafe lower != other[index] { return false }
            }
            return true
        }
    }
}
