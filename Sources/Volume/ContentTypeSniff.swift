extension ContentType {
    /// How many bytes at the front decide; more are not looked at.
    static let sniffBytes = 512

    /// The type that the first bytes of a file betray, `application/octet-stream` when they betray
    /// nothing.
    ///
    /// The table is that of the WHATWG MIME Sniffing Standard, in the order and with the names that
    /// the Go original's HTTP library answers.
    static func sniff(_ content: Span<UInt8>) -> String {
        let data = content.extracting(0..<min(content.count, sniffBytes))
        var blank = 0
        while blank < data.count, isBlank(data[blank]) { blank += 1 }
        let text = data.extracting(blank..<data.count)
        if let type = markup(text) ?? byteOrderMark(data) { return type }
        for (magic, type) in front where data.starts(with: magic) { return type }
        if let type = riff(data) { return type }
        if isMP4(data) { return "video/mp4" }
        if let type = embeddedFont(data) { return type }
        for (magic, type) in back where data.starts(with: magic) { return type }
        return isText(text) ? "text/plain; charset=utf-8" : "application/octet-stream"
    }

    private typealias Signature = (magic: [UInt8], type: String)

    /// Signatures that start at the first byte and come before those with gaps.
    private static let front: [Signature] = [
        (Array("%PDF-".utf8), "application/pdf"),
        (Array("%!PS-Adobe-".utf8), "application/postscript"),
        ([0x00, 0x00, 0x01, 0x00], "image/x-icon"),
        ([0x00, 0x00, 0x02, 0x00], "image/x-icon"),
        (Array("BM".utf8), "image/bmp"),
        (Array("GIF87a".utf8), "image/gif"),
        (Array("GIF89a".utf8), "image/gif"),
        ([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a], "image/png"),
        ([0xff, 0xd8, 0xff], "image/jpeg"),
        (Array("ID3".utf8), "audio/mpeg"),
        (Array("OggS\0".utf8), "application/ogg"),
        (Array("MThd\0\0\0\u{6}".utf8), "audio/midi"),
        ([0x1a, 0x45, 0xdf, 0xa3], "video/webm"),
    ]

    /// Signatures that start at the first byte and come after those with gaps.
    private static let back: [Signature] = [
        ([0x00, 0x01, 0x00, 0x00], "font/ttf"),
        (Array("OTTO".utf8), "font/otf"),
        (Array("ttcf".utf8), "font/collection"),
        (Array("wOFF".utf8), "font/woff"),
        (Array("wOF2".utf8), "font/woff2"),
        ([0x1f, 0x8b, 0x08], "application/x-gzip"),
        ([0x50, 0x4b, 0x03, 0x04], "application/zip"),
        (Array("Rar!\u{1a}\u{7}\0".utf8), "application/x-rar-compressed"),
        (Array("Rar!\u{1a}\u{7}\u{1}\0".utf8), "application/x-rar-compressed"),
        ([0x00, 0x61, 0x73, 0x6d], "application/wasm"),
    ]

    /// Openings of HTML; the byte behind must be a blank or `>`.
    private static let tags = [
        "<!DOCTYPE HTML", "<HTML", "<HEAD", "<SCRIPT", "<IFRAME", "<H1", "<DIV", "<FONT",
        "<TABLE", "<A", "<STYLE", "<TITLE", "<B", "<BODY", "<BR", "<P", "<!--",
    ].map { Array($0.utf8) }

    /// HTML or XML; `text` has no leading blanks.
    private static func markup(_ text: Span<UInt8>) -> String? {
        guard text.count > 0, text[0] == 0x3c else { return nil }
        if text.starts(with: Array("<?xml".utf8)) { return "text/xml; charset=utf-8" }
        for tag in tags where text.count > tag.count {
            let end = text[tag.count]
            guard end == 0x20 || end == 0x3e else { continue }
            if matchesIgnoringCase(text, tag) { return "text/html; charset=utf-8" }
        }
        return nil
    }

    /// Text with a byte order mark, which is looked for only when a byte follows it.
    private static func byteOrderMark(_ data: Span<UInt8>) -> String? {
        guard data.count >= 4 else { return nil }
        if data.starts(with: [0xfe, 0xff]) { return "text/plain; charset=utf-16be" }
        if data.starts(with: [0xff, 0xfe]) { return "text/plain; charset=utf-16le" }
        return data.starts(with: [0xef, 0xbb, 0xbf]) ? "text/plain; charset=utf-8" : nil
    }

    private static func matchesIgnoringCase(_ text: Span<UInt8>, _ tag: [UInt8]) -> Bool {
        for i in tag.indices {
            let byte = text[i] >= 0x61 && text[i] <= 0x7a ? text[i] & 0xdf : text[i]
            if byte != tag[i] { return false }
        }
        return true
    }

    /// Containers that name their content at byte 8.
    private static func riff(_ data: Span<UInt8>) -> String? {
        guard data.count >= 12 else { return nil }
        let kind = data.extracting(8..<data.count)
        if data.starts(with: Array("FORM".utf8)) {
            return kind.starts(with: Array("AIFF".utf8)) ? "audio/aiff" : nil
        }
        guard data.starts(with: Array("RIFF".utf8)) else { return nil }
        if kind.starts(with: Array("WEBPVP".utf8)) { return "image/webp" }
        if kind.starts(with: Array("AVI ".utf8)) { return "video/avi" }
        return kind.starts(with: Array("WAVE".utf8)) ? "audio/wave" : nil
    }

    private static func embeddedFont(_ data: Span<UInt8>) -> String? {
        guard data.count >= 36, data[34] == 0x4c, data[35] == 0x50 else { return nil }
        return "application/vnd.ms-fontobject"
    }

    /// An ISO media file: a first box `ftyp` that names a brand beginning with `mp4`.
    private static func isMP4(_ data: Span<UInt8>) -> Bool {
        guard data.count >= 12, data.extracting(4..<8).starts(with: Array("ftyp".utf8)) else {
            return false
        }
        var size = 0
        for i in 0..<4 { size = size << 8 | Int(data[i]) }
        guard size <= data.count, size % 4 == 0 else { return false }
        // Byte 12 holds the version of the brand, not a brand.
        for i in stride(from: 8, to: size, by: 4) where i != 12 && i + 3 <= data.count {
            if data.extracting(i..<i + 3).starts(with: Array("mp4".utf8)) { return true }
        }
        return false
    }

    private static func isText(_ data: Span<UInt8>) -> Bool {
        for i in data.indices {
            switch data[i] {
            case 0x00...0x08, 0x0b, 0x0e...0x1a, 0x1c...0x1f: return false
            default: continue
            }
        }
        return true
    }

    private static func isBlank(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x09 || byte == 0x0a || byte == 0x0c || byte == 0x0d
    }
}

extension Span<UInt8> {
    /// Whether the bytes begin with others.
    fileprivate func starts(with prefix: [UInt8]) -> Bool {
        guard count >= prefix.count else { return false }
        for i in prefix.indices where prefix[i] != self[i] { return false }
        return true
    }
}
