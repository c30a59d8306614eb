import NIOCore

// ASCII bytes by name, and the few byte questions that parsing asks.

let tab: UInt8 = 0x09
let lineFeed: UInt8 = 0x0a
let carriageReturn: UInt8 = 0x0d
let blank: UInt8 = 0x20

extension UInt8 {
    /// The byte, an upper case letter turned into lower case.
    @inline(__always) var lowered: UInt8 { self &- 0x41 < 26 ? self | 0x20 : self }

    /// Whether the byte may stand in a method or header name (RFC 9110, `tchar`).
    @inline(__always) var isTokenByte: Bool {
        // Bit n of the pair says whether byte n is allowed.
        let low: UInt64 = 0x03ff_6cfa_0000_0000
        let high: UInt64 = 0x57ff_ffff_c7ff_fffe
        guard self < 128 else { return false }
        return (self < 64 ? low &>> UInt64(self) : high &>> UInt64(self &- 64)) & 1 == 1
    }

    /// Whether the byte may stand in a header value: visible, blank, tab or above ASCII.
    @inline(__always) var isFieldByte: Bool { (self >= 0x20 && self != 0x7f) || self == tab }

    /// The value of a hexadecimal digit.
    @inline(__always) var hexValue: UInt8? {
        switch self {
        case 0x30...0x39: self &- 0x30
        case 0x41...0x46: self &- 0x41 &+ 10
        case 0x61...0x66: self &- 0x61 &+ 10
        default: nil
        }
    }
}

/// Whether the bytes of `range` are `text`, whose letters are lower case, in any case.
@inline(__always)
func matches(_ bytes: borrowing Span<UInt8>, _ range: Range<Int>, _ text: StaticString) -> Bool {
    guard range.count == text.utf8CodeUnitCount, text.hasPointerRepresentation else { return false }
    let expected = unsafe text.utf8Start
    var offset = 0
    while offset < range.count {
        // In bounds: `offset` is below the literal's length, checked above.
        guard unsafe bytes[range.lowerBound + offset].lowered == expected[offset] else {
            return false
        }
        offset += 1
    }
    return true
}

/// The range without blanks and tabs at both ends.
func trimmed(_ bytes: borrowing Span<UInt8>, _ range: Range<Int>) -> Range<Int> {
    var start = range.lowerBound
    var end = range.upperBound
    while start < end, bytes[start] == blank || bytes[start] == tab { start += 1 }
    while end > start, bytes[end - 1] == blank || bytes[end - 1] == tab { end -= 1 }
    return start..<end
}

/// The bytes as text; invalid UTF-8 is repaired.
func text(_ bytes: borrowing Span<UInt8>, _ range: Range<Int>) -> String {
    let part = bytes.extracting(range)
    return unsafe part.withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) }
}

/// Percent-decoded text.
///
/// Escapes that are none stay as they are; `plusIsBlank` is for queries.
func decodingPercents(
    _ bytes: borrowing Span<UInt8>, _ range: Range<Int>, plusIsBlank: Bool
) -> String {
    var needed = false
    for index in range where bytes[index] == 0x25 || (plusIsBlank && bytes[index] == 0x2b) {
        needed = true
        break
    }
    guard needed else { return text(bytes, range) }
    var decoded: [UInt8] = []
    decoded.reserveCapacity(range.count)
    var index = range.lowerBound
    while index < range.upperBound {
        let byte = bytes[index]
        if byte == 0x25, index + 2 < range.upperBound, let high = bytes[index + 1].hexValue,
            let low = bytes[index + 2].hexValue
        {
            decoded.append(high << 4 | low)
            index += 3
            continue
        }
        decoded.append(plusIsBlank && byte == 0x2b ? blank : byte)
        index += 1
    }
    return String(decoding: decoded, as: UTF8.self)
}

extension String {
    /// The text with percent escapes decoded; escapes that are none stay as they are.
    public var percentDecoded: String {
        let bytes = Array(utf8)
        return decodingPercents(bytes.span, 0..<bytes.count, plusIsBlank: false)
    }
}

extension ByteBuffer {
    /// Writes a number in decimal digits.
    @inline(__always)
    mutating func writeDecimal(_ number: UInt64) {
        var rest = number
        var count = 1
        var bound: UInt64 = 10
        while rest >= bound {
            count += 1
            if count == 20 { break }
            bound &*= 10
        }
        unsafe writeWithUnsafeMutableBytes(minimumWritableBytes: count) { bytes in
            var position = count
            while position > 0 {
                position -= 1
                // In bounds: `count` bytes were reserved.
                unsafe bytes[position] = UInt8(truncatingIfNeeded: 0x30 + rest % 10)
                rest /= 10
            }
            return count
        }
    }
}
