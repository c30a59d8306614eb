import Crypto

/// Digests for comparing content.
public enum Digest {
    /// SHA-256 as lower-case hex.
    public static func sha256(_ bytes: [UInt8]) -> String {
        var text = ""
        for byte in SHA256.hash(data: bytes) {
            let hex = String(byte, radix: 16)
            text += byte < 16 ? "0" + hex : hex
        }
        return text
    }

    /// MD5 as base64, the form of `Content-MD5`.
    public static func md5Base64(_ bytes: [UInt8]) -> String {
        base64(Array(Insecure.MD5.hash(data: bytes)))
    }

    private static func base64(_ bytes: [UInt8]) -> String {
        let alphabet = Array(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        var text: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            var word = group.reduce(0) { $0 << 8 | Int($1) }
            word <<= 8 * (3 - group.count)
            for place in 0..<4 {
                let used = place <= group.count
                text.append(used ? alphabet[word >> (18 - 6 * place) & 63] : 0x3d)
            }
        }
        return String(decoding: text, as: UTF8.self)
    }
}
