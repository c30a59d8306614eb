import Glibc

/// Who may write and delete.
///
/// With a white list: who is on it. Without one, but with a signing key: who shows a token. With
/// neither: this machine, or everybody when the operator said so.
struct AccessRules: Sendable {
    private let networks: [Network]
    private let allowsEverybody: Bool
    private let ownAddress: String

    init(_ configuration: VolumeConfiguration) throws(VolumeServiceError) {
        var networks: [Network] = []
        for entry in configuration.whiteList {
            guard let network = Network(entry) else { throw .whiteList(entry) }
            networks.append(network)
        }
        self.networks = networks
        allowsEverybody = configuration.isInsecure || !configuration.signingKey.isEmpty
        ownAddress = configuration.ip
    }

    /// What to say to who is refused although no white list names anybody; `nil` with a white list.
    var refusal: String? {
        guard networks.isEmpty else { return nil }
        return
            "writes are taken from this machine only: start the server with a -whiteList that names "
            + "this client, with a signing key, or with -insecure"
    }

    /// Whether a client may write and delete; a token may be asked for beside this.
    func allows(_ address: String) -> Bool {
        if networks.isEmpty {
            return allowsEverybody || AccessRules.isLoopback(address) || address == ownAddress
        }
        guard let bytes = Network.bytes(of: address) else { return false }
        return networks.contains { $0.contains(bytes) }
    }

    private static func isLoopback(_ address: String) -> Bool {
        address.hasPrefix("127.") || address == "::1" || address.hasPrefix("::ffff:127.")
    }
}

/// A range of addresses: `10.0.0.0/8`, or one address.
struct Network: Sendable, Equatable {
    private let prefix: [UInt8]
    private let bits: Int

    /// Parses an address or a network; `localhost` is 127.0.0.1.
    init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        let host = parts[0] == "localhost" ? "127.0.0.1" : String(parts[0])
        guard let bytes = Network.bytes(of: host) else { return nil }
        prefix = bytes
        guard parts.count == 2 else {
            bits = bytes.count * 8
            return
        }
        guard let bits = Int(parts[1]), (0...bytes.count * 8).contains(bits) else { return nil }
        self.bits = bits
    }

    /// Whether an address, as `bytes(of:)` gives it, lies inside.
    func contains(_ address: [UInt8]) -> Bool {
        guard address.count == prefix.count else { return false }
        let whole = bits / 8
        for i in 0..<whole where address[i] != prefix[i] { return false }
        let rest = bits % 8
        guard rest > 0 else { return true }
        let mask = UInt8(truncatingIfNeeded: 0xff00 >> rest)
        return address[whole] & mask == prefix[whole] & mask
    }

    /// The 4 or 16 bytes of an address; IPv4 written as IPv6 (`::ffff:10.0.0.1`) counts as IPv4.
    static func bytes(of text: String) -> [UInt8]? {
        let plain =
            text.hasPrefix("::ffff:") && text.contains(".") ? String(text.dropFirst(7)) : text
        var bytes = [UInt8](repeating: 0, count: 16)
        let isV4 = plain.utf8.contains(0x2e)
        let family = isV4 ? AF_INET : AF_INET6
        let parsed = unsafe bytes.withUnsafeMutableBytes { target in
            unsafe inet_pton(family, plain, target.baseAddress)
        }
        guard parsed == 1 else { return nil }
        return isV4 ? Array(bytes[..<4]) : bytes
    }
}
