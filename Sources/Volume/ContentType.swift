/// What kind of content a file holds, from its name or its first bytes.
enum ContentType {
    /// The type that an extension implies, `text/html; charset=utf-8` for `html`, `.HTML` or
    /// `.html`; `nil` for an unknown one.
    static func forExtension(_ ext: String) -> String? {
        let bytes = ext.utf8.span
        let start = bytes.count > 0 && bytes[0] == 0x2e ? 1 : 0
        guard let key = ExtensionKey(bytes.extracting(start..<bytes.count)) else { return nil }
        return table[key]
    }

    /// The type that the extension of a file name implies.
    ///
    /// Allocates nothing.
    static func forName(_ name: Span<UInt8>) -> String? {
        var i = name.count - 1
        while i >= 0, name[i] != 0x2f {
            if name[i] == 0x2e {
                guard let key = ExtensionKey(name.extracting(i + 1..<name.count)) else {
                    return nil
                }
                return table[key]
            }
            i -= 1
        }
        return nil
    }

    /// Whether a stored type says nothing: `application/octet-stream`, with or without parameters.
    static func isOpaque(_ mime: Span<UInt8>) -> Bool {
        let prefix: StaticString = "application/octet-stream"
        return mime.starts(with: prefix)
    }

    /// Types by extension, in lower case and without the dot.
    private static let table: [ExtensionKey: String] = {
        var table: [ExtensionKey: String] = [:]
        for (type, extensions) in ContentType.known {
            for ext in extensions.split(separator: " ") {
                if let key = ExtensionKey(ext.utf8.span) { table[key] = type }
            }
        }
        return table
    }()
}

/// Up to sixteen bytes of an extension in two words, so that looking one up needs no string.
private struct ExtensionKey: Hashable {
    private var high: UInt64 = 0
    private var low: UInt64 = 0

    /// A key; ASCII letters count as lower case.
    ///
    /// `nil` if there is nothing or too much to hold.
    init?(_ ext: Span<UInt8>) {
        guard ext.count > 0, ext.count <= 16 else { return nil }
        for i in ext.indices {
            let byte = ext[i] >= 0x41 && ext[i] <= 0x5a ? ext[i] | 0x20 : ext[i]
            high = high << 8 | low >> 56
            low = low << 8 | UInt64(byte)
        }
    }
}

extension Span<UInt8> {
    /// Whether the bytes begin with an ASCII text.
    func starts(with prefix: StaticString) -> Bool {
        guard count >= prefix.utf8CodeUnitCount else { return false }
        return prefix.withUTF8Buffer { text in
            for i in 0..<text.count where unsafe text[i] != self[i] { return false }
            return true
        }
    }

    /// Whether the bytes are an ASCII text.
    func equals(_ text: StaticString) -> Bool {
        count == text.utf8CodeUnitCount && starts(with: text)
    }
}
