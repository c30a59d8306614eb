public import NIOCore

/// The header lines of one part that matter here.
public struct MultipartHeaders: Sendable, Equatable {
    /// The file name as sent, with directories; empty for none.
    public var filename = ""
    /// The content type; empty for none.
    public var contentType = ""
    /// Whether the part's data is gzip.
    public var isGzip = false
    /// The base64 MD5 the client computed; empty for none.
    public var contentMD5 = ""

    /// No header at all.
    public init() {}

    /// Parses header lines, each ending in LF or CRLF; lines that start with a blank continue the
    /// one before.
    public init(block: ByteBufferView) {
        let bytes = Array(block)
        var start = 0
        while start < bytes.count {
            var end = start
            // The field ends at a line feed that no continuation follows.
            while end < bytes.count {
                if bytes[end] == 0x0a, end + 1 == bytes.count || !isBlank(bytes[end + 1]) { break }
                end += 1
            }
            take(bytes[start..<end])
            start = end + 1
        }
    }

    private mutating func take(_ field: ArraySlice<UInt8>) {
        guard let colon = field.firstIndex(of: 0x3a) else { return }
        let name = field[..<colon]
        func isNamed(_ text: StaticString) -> Bool {
            guard name.count == text.utf8CodeUnitCount else { return false }
            return text.withUTF8Buffer { text in
                for i in 0..<text.count
                where unsafe text[i] != name[name.startIndex + i] | 0x20 { return false }
                return true
            }
        }
        func value() -> String {
            let text = field[(colon + 1)...]
            guard text.contains(where: { $0 == 0x0d || $0 == 0x0a }) else {
                return text.trimmedText
            }
            return text.filter { $0 != 0x0d && $0 != 0x0a }.trimmedText
        }
        if isNamed("content-disposition") {
            filename = MediaParameters(value())["filename"] ?? ""
        } else if isNamed("content-type") {
            contentType = value()
        } else if isNamed("content-encoding") {
            isGzip = value() == "gzip"
        } else if isNamed("content-md5") {
            contentMD5 = value()
        }
    }

    private func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }
}

/// The parameters of a header such as `form-data; name="file"; filename="a.txt"`.
///
/// Read as clients write them: quoted or not, in any order and case, `\"` inside quotes, and
/// `filename*=utf-8''%C3%A9.txt`, which wins over the plain form.
struct MediaParameters {
    /// Parameters of one header that are looked at.
    static let countLimit = 32

    /// The word before the first `;`, in lower case.
    let value: String
    private var items: [(name: String, value: String)] = []

    init(_ text: String) {
        let bytes = Array(text.utf8)
        var at = bytes.firstIndex(of: 0x3b) ?? bytes.count
        let word = bytes[..<at].trimmedText
        // Some clients send parameters alone: `filename="x"`.
        if word.utf8.contains(0x3d) {
            value = ""
            at = -1
        } else {
            value = word.lowercased()
        }
        while at < bytes.count, items.count < MediaParameters.countLimit {
            at += 1
            takeParameter(bytes, &at)
        }
    }

    /// The first value of a parameter; the extended form (`name*`) wins.
    subscript(_ name: String) -> String? {
        let extended = name + "*"
        if let item = items.first(where: { $0.name == extended }),
            let decoded = MediaParameters.decodeExtended(item.value)
        {
            return decoded
        }
        return items.first { $0.name == name }?.value
    }

    /// Takes `name=value` from `at`; leaves `at` at the next `;` or the end.
    private mutating func takeParameter(_ bytes: [UInt8], _ at: inout Int) {
        let nameStart = at
        while at < bytes.count, bytes[at] != 0x3d, bytes[at] != 0x3b { at += 1 }
        let name = bytes[nameStart..<at].trimmedText.lowercased()
        guard at < bytes.count, bytes[at] == 0x3d else { return }
        at += 1
        while at < bytes.count, bytes[at] == 0x20 || bytes[at] == 0x09 { at += 1 }
        let value: String
        if at < bytes.count, bytes[at] == 0x22 {
            value = MediaParameters.takeQuoted(bytes, &at)
            while at < bytes.count, bytes[at] != 0x3b { at += 1 }
        } else {
            let start = at
            while at < bytes.count, bytes[at] != 0x3b { at += 1 }
            value = bytes[start..<at].trimmedText
        }
        if !name.isEmpty { items.append((name, value)) }
    }

    /// Takes a quoted text; a backslash counts only before a character that needs it, because some
    /// browsers send `C:\dir\file` as it is.
    private static func takeQuoted(_ bytes: [UInt8], _ at: inout Int) -> String {
        let special: StaticString = "()<>@,;:\\\"/[]?="
        var text: [UInt8] = []
        at += 1
        while at < bytes.count, bytes[at] != 0x22 {
            if bytes[at] == 0x5c, at + 1 < bytes.count, isSpecial(bytes[at + 1], special) {
                at += 1
            }
            text.append(bytes[at])
            at += 1
        }
        if at < bytes.count { at += 1 }
        return String(decoding: text, as: UTF8.self)
    }

    private static func isSpecial(_ byte: UInt8, _ set: StaticString) -> Bool {
        set.withUTF8Buffer { unsafe $0.contains(byte) }
    }

    /// Decodes `utf-8''%C3%A9.txt`; `nil` for other character sets.
    private static func decodeExtended(_ text: String) -> String? {
        let parts = text.split(separator: "'", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3 else { return nil }
        guard ["utf-8", "us-ascii"].contains(parts[0].lowercased()) else { return nil }
        return PercentDecoding.decode(parts[2].utf8)
    }
}

/// Decodes percent escapes; those that are none stay as they are.
enum PercentDecoding {
    static func decode(_ bytes: some Sequence<UInt8>) -> String {
        let source = Array(bytes)
        var text: [UInt8] = []
        text.reserveCapacity(source.count)
        var i = 0
        while i < source.count {
            if source[i] == 0x25, i + 2 < source.count, let high = hex(source[i + 1]),
                let low = hex(source[i + 2])
            {
                text.append(high << 4 | low)
                i += 3
            } else {
                text.append(source[i])
                i += 1
            }
        }
        return String(decoding: text, as: UTF8.self)
    }

    private static func hex(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x41 + 10
        case 0x61...0x66: byte - 0x61 + 10
        default: nil
        }
    }
}

extension Collection<UInt8> {
    /// The bytes as text, without blanks around it.
    var trimmedText: String {
        var slice = self[startIndex..<endIndex]
        while let first = slice.first, first == 0x20 || first == 0x09 { slice = slice.dropFirst() }
        var bytes = Array(slice)
        while let last = bytes.last, last == 0x20 || last == 0x09 { bytes.removeLast() }
        return String(decoding: bytes, as: UTF8.self)
    }
}
