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
        // Only these letters can begin a type that is.
        guard let first = mime.utf8.first, [0x74, 0x54, 0x61, 0x41].contains(first) else {
            return false
        }
        let type =
            mime.utf8.split(separator: 0x3b, maxSplits: 1).first?.trimmedText.lowercased() ?? ""
        if type.hasPrefix("text/") { return true }
        if type.hasPrefix("application/") {
            return type.hasSuffix("xml") || type.hasSuffix("script")
        }
        return type == "audio/wav" || type == "audio/x-wav" || type == "audio/wave"
    }
}
