/// IP addresses and networks that may use guarded paths.
struct WhiteList: Sendable {
    private struct Network: Sendable {
        let bits: [UInt8]
        let length: Int
    }

    private let networks: [Network]
    /// Entries that are neither an address nor a network.
    let invalid: [String]

    /// Whether everyone is let in.
    var isEmpty: Bool { networks.isEmpty && invalid.isEmpty }

    /// Reads entries like `192.168.1.7`, `10.0.0.0/8`, `fe80::/10`.
    init(_ entries: [String]) {
        var networks: [Network] = []
        var invalid: [String] = []
        for entry in entries where !entry.isEmpty {
            let parts = entry.split(separator: "/", omittingEmptySubsequences: false)
            guard parts.count <= 2, parts.count == 1 || IPAddress.isNumber(parts[1]),
                let bits = IPAddress.parse(String(parts[0]))
            else {
                invalid.append(entry)
                continue
            }
            let length = parts.count == 2 ? Int(parts[1]) : bits.count * 8
            guard let length, (0...bits.count * 8).contains(length) else {
                invalid.append(entry)
                continue
            }
            networks.append(Network(bits: bits, length: length))
        }
        self.networks = networks
        self.invalid = invalid
    }

    /// Whether the client at an address is let in.
    func admits(_ address: String) -> Bool {
        if isEmpty { return true }
        guard let bits = IPAddress.parse(address) else { return false }
        return networks.contains { WhiteList.matches($0, bits) }
    }

    private static func matches(_ network: Network, _ bits: [UInt8]) -> Bool {
        guard network.bits.count == bits.count else { return false }
        var left = network.length
        for (mine, theirs) in zip(network.bits, bits) where left > 0 {
            let mask: UInt8 = left >= 8 ? 0xff : ~(0xff >> UInt8(left))
            if mine & mask != theirs & mask { return false }
            left -= 8
        }
        return true
    }
}

/// Numeric IP addresses.
enum IPAddress {
    /// The 4 or 16 bytes of an address; an IPv4 address written as IPv6 gives 4.
    static func parse(_ text: String) -> [UInt8]? {
        if !text.contains(":") { return four(text) }
        let bare = text.split(separator: "%", omittingEmptySubsequences: false)[0]
        guard let bytes = sixteen(String(bare)) else { return nil }
        let mapped =
            bytes.prefix(10).allSatisfy { $0 == 0 } && bytes[10] == 0xff && bytes[11] == 0xff
        return mapped ? Array(bytes[12...]) : bytes
    }

    private static func four(_ text: String) -> [UInt8]? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var bytes: [UInt8] = []
        for part in parts {
            guard (1...3).contains(part.utf8.count), isNumber(part), let byte = UInt8(part)
            else { return nil }
            bytes.append(byte)
        }
        return bytes
    }

    private static func sixteen(_ text: String) -> [UInt8]? {
        guard let gap = text.firstRange(of: "::") else {
            return groups(text).flatMap { $0.count == 16 ? $0 : nil }
        }
        guard let head = groups(String(text[..<gap.lowerBound])),
            let tail = groups(String(text[gap.upperBound...])), head.count + tail.count <= 14
        else { return nil }
        return head + [UInt8](repeating: 0, count: 16 - head.count - tail.count) + tail
    }

    /// Digits only: no sign, which integers would take.
    static func isNumber(_ text: Substring) -> Bool {
        text.utf8.allSatisfy { $0 >= 0x30 && $0 <= 0x39 }
    }

    private static func groups(_ text: String) -> [UInt8]? {
        if text.isEmpty { return [] }
        var bytes: [UInt8] = []
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        for (index, part) in parts.enumerated() {
            if index == parts.count - 1, part.contains("."), let last = four(String(part)) {
                bytes += last
            } else {
                guard (1...4).contains(part.utf8.count), part.utf8.first != 0x2b,
                    let group = UInt16(part, radix: 16)
                else { return nil }
                bytes += [UInt8(group >> 8), UInt8(group & 255)]
            }
        }
        return bytes.count <= 16 ? bytes : nil
    }
}
