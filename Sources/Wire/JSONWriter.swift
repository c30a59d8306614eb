/// Writes JSON as the original does: keys in the order given, `<`, `>` and `&` escaped, an optional
/// two-space indent, no newline at the end.
///
/// ```swift
/// var json = JSONWriter(pretty: false)
/// json.object {
///     $0.field("fid", "3,01637037d6")
///     $0.field("count", 1)
/// }
/// json.bytes
/// ```
public struct JSONWriter: Sendable {
    /// The text written so far, UTF-8.
    public private(set) var bytes: [UInt8] = []
    private let pretty: Bool
    private var depth = 0
    private var needsComma = false

    /// An empty writer.
    public init(pretty: Bool = false) {
        self.pretty = pretty
        bytes.reserveCapacity(256)
    }

    /// The text written so far.
    public var text: String { String(decoding: bytes, as: UTF8.self) }

    /// Writes an object whose fields `body` writes.
    public mutating func object(_ body: (inout JSONWriter) -> Void) {
        nest(0x7b, 0x7d, body)
    }

    /// Writes an array whose elements `body` writes.
    public mutating func array(_ body: (inout JSONWriter) -> Void) {
        nest(0x5b, 0x5d, body)
    }

    /// Writes a string value.
    public mutating func value(_ text: String) {
        separate()
        quoted(text)
        needsComma = true
    }

    /// Writes an integer value.
    public mutating func value(_ number: some BinaryInteger) {
        separate()
        if let magnitude = UInt64(exactly: number.magnitude) {
            if number < 0 { bytes.append(0x2d) }
            decimal(magnitude)
        } else {
            bytes.append(contentsOf: String(number).utf8)
        }
        needsComma = true
    }

    /// Writes text that already is JSON, as bytes; not indented again.
    public mutating func raw(_ json: [UInt8]) {
        separate()
        bytes.append(contentsOf: json)
        needsComma = true
    }

    /// Writes a boolean value.
    public mutating func value(_ flag: Bool) {
        raw(flag ? "true" : "false")
    }

    /// Writes a number; a value that JSON cannot say is written as 0.
    public mutating func value(_ number: Double) {
        guard number.isFinite else { return raw("0") }
        if let whole = Int64(exactly: number), abs(whole) < 1 << 53 { return raw(String(whole)) }
        raw("\(number)")
    }

    /// Writes `null`.
    public mutating func null() {
        raw("null")
    }

    /// Writes text that already is JSON.
    public mutating func raw(_ json: String) {
        separate()
        bytes.append(contentsOf: json.utf8)
        needsComma = true
    }

    /// Writes a key; its value must follow.
    public mutating func key(_ name: String) {
        separate()
        quoted(name)
        bytes.append(0x3a)
        if pretty { bytes.append(0x20) }
        needsComma = false
        afterKey = true
    }
    private var afterKey = false

    /// Writes a field with a string value.
    public mutating func field(_ name: String, _ text: String) {
        key(name)
        value(text)
    }

    /// Writes a field with an integer value.
    public mutating func field(_ name: String, _ number: some BinaryInteger) {
        key(name)
        value(number)
    }

    /// Writes a field with a boolean value.
    public mutating func field(_ name: String, _ flag: Bool) {
        key(name)
        value(flag)
    }

    /// Writes a field with a number.
    public mutating func field(_ name: String, _ number: Double) {
        key(name)
        value(number)
    }

    /// Writes a field whose value is an object.
    public mutating func object(_ name: String, _ body: (inout JSONWriter) -> Void) {
        key(name)
        object(body)
    }

    /// Writes a field whose value is an array.
    public mutating func array(_ name: String, _ body: (inout JSONWriter) -> Void) {
        key(name)
        array(body)
    }

    private mutating func nest(
        _ open: UInt8, _ close: UInt8, _ body: (inout JSONWriter) -> Void
    ) {
        separate()
        bytes.append(open)
        let empty = bytes.count
        depth += 1
        needsComma = false
        body(&self)
        depth -= 1
        if bytes.count > empty { newline() }
        bytes.append(close)
        needsComma = true
    }

    private mutating func separate() {
        if afterKey {
            afterKey = false
            return
        }
        if needsComma { bytes.append(0x2c) }
        if depth > 0 { newline() }
    }

    private mutating func newline() {
        guard pretty else { return }
        bytes.append(0x0a)
        for _ in 0..<depth * 2 { bytes.append(0x20) }
    }

    /// Digits through a fixed buffer: a `String` per number would be an allocation each.
    private mutating func decimal(_ number: UInt64) {
        var digits = [20 of UInt8](repeating: 0)
        var rest = number
        var start = 20
        repeat {
            start -= 1
            digits[start] = 0x30 + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        } while rest > 0
        for i in start..<20 { bytes.append(digits[i]) }
    }

    private mutating func quoted(_ text: String) {
        bytes.append(0x22)
        // a span: through the string's view each byte costs a call
        let utf8 = text.utf8.span
        var isPlain = true
        for index in utf8.indices where JSONWriter.mayNeedEscape(utf8[index]) { isPlain = false }
        if isPlain { bytes.append(contentsOf: text.utf8) } else { escape(text) }
        bytes.append(0x22)
    }

    /// True for what JSON or the original escapes, and for the first byte of U+2028 and U+2029.
    private static func mayNeedEscape(_ byte: UInt8) -> Bool {
        byte < 0x20 || byte == 0x22 || byte == 0x5c || byte == 0x3c || byte == 0x3e
            || byte == 0x26 || byte == 0xe2
    }

    private mutating func escape(_ text: String) {
        for scalar in text.unicodeScalars {
            switch scalar.value {
            case 0x22, 0x5c:
                bytes.append(0x5c)
                bytes.append(UInt8(truncatingIfNeeded: scalar.value))
            case 0x08: bytes.append(contentsOf: "\\b".utf8)
            case 0x0a: bytes.append(contentsOf: "\\n".utf8)
            case 0x0c: bytes.append(contentsOf: "\\f".utf8)
            case 0x0d: bytes.append(contentsOf: "\\r".utf8)
            case 0x09: bytes.append(contentsOf: "\\t".utf8)
            case 0..<0x20, 0x3c, 0x3e, 0x26, 0x2028, 0x2029:
                bytes.append(contentsOf: "\\u".utf8)
                for shift in [12, 8, 4, 0] as [UInt32] {
                    bytes.append(
                        JSONWriter.hexDigit(UInt8(truncatingIfNeeded: scalar.value >> shift) & 15))
                }
            default:
                bytes.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
            }
        }
    }

    private static func hexDigit(_ value: UInt8) -> UInt8 {
        value < 10 ? 0x30 + value : 0x61 + value - 10
    }
}
