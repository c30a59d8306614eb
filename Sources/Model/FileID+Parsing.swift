extension FileID {
    /// Parses the comma form, `3,01637037d6[_2]`; the comma may be written `%2C`.
    public init(_ text: String) throws(FileIDError) {
        let bytes = Array(text.utf8)
        let span = bytes.span
        guard let comma = FileID.comma(in: span) else { throw .key(String(text.prefix(64))) }
        try self.init(
            volume: span.extracting(0..<comma.lowerBound),
            keyAndCookie: span.extracting(comma.upperBound..<span.count))
    }

    /// Parses the two parts of a file id, without a separator.
    public init(volume: Span<UInt8>, keyAndCookie: Span<UInt8>) throws(FileIDError) {
        self.volume = try FileID.parseVolume(volume)
        let (key, cookie) = try FileID.parseKey(keyAndCookie)
        self.key = key
        self.cookie = cookie
    }

    /// Where the comma of a file id is: one byte, or three when written `%2C`.
    public static func comma(in bytes: Span<UInt8>) -> Range<Int>? {
        for i in bytes.indices {
            if bytes[i] == 0x2c { return i..<i + 1 }
            if bytes[i] == 0x25, i + 2 < bytes.count, bytes[i + 1] == 0x32,
                bytes[i + 2] | 0x20 == 0x63
            {
                return i..<i + 3
            }
        }
        return nil
    }

    /// A decimal volume number: leading zeros allowed, the value cut to 32 bits as clients expect.
    public static func parseVolume(_ bytes: Span<UInt8>) throws(FileIDError) -> VolumeID {
        guard let value = decimal(bytes) else {
            throw .volume(String(decoding: bytes.extracting(0..<Swift.min(bytes.count, 64))))
        }
        return VolumeID(truncatingIfNeeded: value)
    }

    /// Hexadecimal key and cookie with an optional decimal `_delta`.
    ///
    /// 9 to 24 digits, of which the last eight are the cookie. The delta is added to the key; a sum
    /// past 64 bits is refused rather than wrapped onto another file.
    public static func parseKey(
        _ bytes: Span<UInt8>
    ) throws(FileIDError) -> (key: NeedleKey, cookie: UInt32) {
        var end = bytes.count
        var delta: UInt64 = 0
        for i in bytes.indices where bytes[i] == 0x5f {
            let digits = bytes.extracting(i + 1..<bytes.count)
            guard let value = decimal(digits) else {
                throw .delta(String(decoding: digits.extracting(0..<Swift.min(digits.count, 64))))
            }
            delta = value
            end = i
            break
        }
        let shown = bytes.extracting(0..<Swift.min(bytes.count, 64))
        guard end > 8, end <= 24 else { throw .key(String(decoding: shown)) }
        var key: UInt64 = 0
        var cookie: UInt32 = 0
        for i in 0..<end {
            guard let digit = hexValue(bytes[i]) else { throw .key(String(decoding: shown)) }
            if i < end - 8 {
                key = key << 4 | UInt64(digit)
            } else {
                cookie = cookie << 4 | UInt32(digit)
            }
        }
        let (sum, overflow) = key.addingReportingOverflow(delta)
        guard !overflow else { throw .key(String(decoding: shown)) }
        return (sum, cookie)
    }

    /// The value of a hexadecimal digit of either case.
    static func hexValue(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x61...0x66: byte - 0x61 + 10
        case 0x41...0x46: byte - 0x41 + 10
        default: nil
        }
    }

    /// A non-empty run of decimal digits that fits 64 bits.
    static func decimal(_ bytes: Span<UInt8>) -> UInt64? {
        guard !bytes.isEmpty else { return nil }
        var value: UInt64 = 0
        for i in bytes.indices {
            guard bytes[i] >= 0x30, bytes[i] <= 0x39 else { return nil }
            let (product, high) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = product.addingReportingOverflow(UInt64(bytes[i] - 0x30))
            guard !high, !carry else { return nil }
            value = sum
        }
        return value
    }
}

extension String {
    /// Decodes UTF-8, replacing what is not.
    init(decoding bytes: Span<UInt8>) {
        self = unsafe bytes.withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) }
    }
}
