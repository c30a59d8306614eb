/// The `Content-Disposition` of a file: whether browsers show or save it, and under which name.
///
/// Three forms: a token stands as it is, other ASCII in quotation marks, everything else as
/// `filename*=utf-8''` with percent escapes (RFC 6266, RFC 8187).
struct Disposition {
    private var short = [256 of UInt8](repeating: 0)
    private var count = 0
    /// Takes over when the text does not fit.
    private var long: [UInt8] = []

    /// A disposition; `name` must not be empty.
    init(name: Span<UInt8>, isAttachment: Bool) {
        put(isAttachment ? "attachment; filename" : "inline; filename")
        switch Disposition.form(of: name) {
        case .token:
            put("=")
            for i in name.indices { put(name[i]) }
        case .quoted:
            put("=\"")
            for i in name.indices {
                if name[i] == 0x22 || name[i] == 0x5c { put(0x5c) }
                put(name[i])
            }
            put("\"")
        case .escaped:
            put("*=utf-8''")
            for i in name.indices {
                if Disposition.isPlain(name[i]) {
                    put(name[i])
                } else {
                    put(0x25)
                    put(Disposition.digit(name[i] >> 4))
                    put(Disposition.digit(name[i] & 15))
                }
            }
        }
    }

    /// Lends the bytes of the header's value.
    func withSpan<R>(_ body: (Span<UInt8>) -> R) -> R {
        long.isEmpty ? body(short.span.extracting(0..<count)) : body(long.span)
    }

    private enum Form {
        case token, quoted, escaped
    }

    private static func form(of name: Span<UInt8>) -> Form {
        var form = name.isEmpty ? Form.quoted : .token
        for i in name.indices {
            let byte = name[i]
            if byte < 0x20 && byte != 0x09 || byte > 0x7e { return .escaped }
            if byte <= 0x20 || isSpecial(byte) { form = .quoted }
        }
        return form
    }

    /// What may stand unescaped in the extended form.
    private static func isPlain(_ byte: UInt8) -> Bool {
        byte > 0x20 && byte < 0x7f && !isSpecial(byte) && byte != 0x2a && byte != 0x27
            && byte != 0x25
    }

    /// The separators of RFC 2045: `()<>@,;:\"/[]?=`.
    private static func isSpecial(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x28, 0x29, 0x3c, 0x3e, 0x40, 0x2c, 0x3b, 0x3a, 0x5c, 0x22, 0x2f, 0x5b, 0x5d, 0x3f,
            0x3d:
            true
        default: false
        }
    }

    private static func digit(_ value: UInt8) -> UInt8 {
        value < 10 ? 0x30 + value : 0x41 + value - 10
    }

    private mutating func put(_ text: StaticString) {
        for i in 0..<text.utf8CodeUnitCount { put(text.withUTF8Buffer { unsafe $0[i] }) }
    }

    private mutating func put(_ byte: UInt8) {
        if long.isEmpty, count < short.count {
            short[count] = byte
            count += 1
            return
        }
        if long.isEmpty { for i in 0..<count { long.append(short[i]) } }
        long.append(byte)
    }
}
