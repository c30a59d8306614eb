/// A cluster's identity, random 128 bits; the topology id of the masters.
public struct ClusterID: Sendable, Hashable, CustomStringConvertible {
    /// The first and the last 64 bits.
    public let high, low: UInt64

    /// These bits.
    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// A new identity (a version 4 UUID) from a generator.
    public init(using generator: inout some RandomNumberGenerator) {
        high = generator.next() & 0xFFFF_FFFF_FFFF_0FFF | 0x4000
        low = generator.next() & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
    }

    /// Reads the form `description` writes; `nil` if it is another.
    public init?(_ text: String) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.map(\.utf8.count) == [8, 4, 4, 4, 12] else { return nil }
        let digits = parts.joined()
        guard let high = Hexadecimal.parse(digits.prefix(16)),
            let low = Hexadecimal.parse(digits.suffix(16))
        else { return nil }
        self.init(high: high, low: low)
    }

    /// `01234567-89ab-4def-8123-456789abcdef`.
    public var description: String {
        let digits = Hexadecimal.text(high) + Hexadecimal.text(low)
        var text = ""
        for (position, digit) in digits.enumerated() {
            if [8, 12, 16, 20].contains(position) { text.append("-") }
            text.append(digit)
        }
        return text
    }
}

/// 64-bit numbers as 16 digits, the form ids have in text.
enum Hexadecimal {
    static func text(_ value: UInt64) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    static func parse(_ text: some StringProtocol) -> UInt64? {
        guard text.utf8.count == 16, text.first != "+", text.first != "-" else { return nil }
        return UInt64(text, radix: 16)
    }
}
