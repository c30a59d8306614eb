import Crypto
import FoundationEssentials
import HTTPServer
import Model

/// Checks the tokens (JSON web tokens, HMAC) that clients show for one file.
struct TokenRules: Sendable {
    /// Bytes of a token; longer ones are refused unread.
    static let lengthLimit = 8 << 10

    /// Seconds for which tokens between servers are good.
    static let ownSeconds: Int64 = 60

    private let key: SymmetricKey?

    /// No key: no token is needed.
    init(key: [UInt8]) {
        self.key = key.isEmpty ? nil : SymmetricKey(data: key)
    }

    /// Whether tokens are needed.
    var isActive: Bool { key != nil }

    /// Whether the request shows a token for what its path names, or needs none.
    func allows(_ request: HTTPRequest, _ target: Target?) -> Bool {
        guard key != nil else { return true }
        guard let target, case .file = target, let token = TokenRules.token(of: request) else {
            return false
        }
        return isValid(token, for: TokenRules.subject(ofPath: request.path))
    }

    /// Whether a token is signed with the key, not expired at `now` (unix seconds), and names
    /// `fileID`.
    func isValid(_ token: String, for fileID: String, now: Double = Date().timeIntervalSince1970)
        -> Bool
    {
        guard let key, token.utf8.count <= TokenRules.lengthLimit else { return false }
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, let header = Base64.decodeURL(parts[0]),
            let payload = Base64.decodeURL(parts[1]), let signature = Base64.decodeURL(parts[2]),
            let algorithm = try? JSONDecoder().decode(Header.self, from: Data(header)).alg
        else { return false }
        let signed = Array("\(parts[0]).\(parts[1])".utf8)
        let isSigned =
            switch algorithm {
            case "HS256": check(HMAC<SHA256>.self, signature, signed, key)
            case "HS384": check(HMAC<SHA384>.self, signature, signed, key)
            case "HS512": check(HMAC<SHA512>.self, signature, signed, key)
            default: false
            }
        guard isSigned,
            let claims = try? JSONDecoder().decode(Claims.self, from: Data(payload))
        else { return false }
        if let expiry = claims.exp, now >= expiry { return false }
        if let start = claims.nbf, now < start { return false }
        return claims.fid == fileID
    }

    /// A token for a file, good for ``ownSeconds``; `nil` when none are needed.
    func sign(_ id: FileID, now: Double = Date().timeIntervalSince1970) -> String? {
        guard let key else { return nil }
        let expiry = Int64(now) + TokenRules.ownSeconds
        let header = Base64.encodeURL(Array(#"{"alg":"HS256","typ":"JWT"}"#.utf8))
        let claims = Base64.encodeURL(Array(#"{"fid":"\#(id)","exp":\#(expiry)}"#.utf8))
        let signed = "\(header).\(claims)"
        let code = HMAC<SHA256>.authenticationCode(for: Array(signed.utf8), using: key)
        return "\(signed).\(Base64.encodeURL(Array(code)))"
    }

    private func check<H: HashFunction>(
        _ type: HMAC<H>.Type, _ signature: [UInt8], _ signed: [UInt8], _ key: SymmetricKey
    ) -> Bool {
        type.isValidAuthenticationCode(signature, authenticating: signed, using: key)
    }

    private struct Header: Decodable {
        var alg: String
    }

    private struct Claims: Decodable {
        var fid: String?
        var exp: Double?
        var nbf: Double?
    }

    /// The file id that a token for a path must name: comma form, without extension and `_delta`.
    static func subject(ofPath path: String) -> String {
        let elements = path.split(separator: "/", omittingEmptySubsequences: true)
        guard let first = elements.first else { return "" }
        if elements.count > 1 { return "\(first),\(cut(elements[1]))" }
        let bytes = Array(first.utf8)
        guard let comma = FileID.comma(in: bytes.span) else { return String(first) }
        let volume = String(decoding: bytes[..<comma.lowerBound], as: UTF8.self)
        let key = String(decoding: bytes[comma.upperBound...], as: UTF8.self)
        return "\(volume),\(cut(key[...]))"
    }

    private static func cut(_ key: Substring) -> Substring {
        let bare = key.lastIndex(of: ".").map { key[..<$0] } ?? key
        return bare.firstIndex(of: "_").map { bare[..<$0] } ?? bare
    }

    /// The token a request shows: `?jwt=`, else `Authorization: Bearer`, else the cookie `AT`.
    private static func token(of request: HTTPRequest) -> String? {
        if request.hasQuery, let token = request.query["jwt"], !token.isEmpty { return token }
        if let value = request.header("authorization") {
            let parts = value.split(separator: " ", maxSplits: 1)
            if parts.count == 2, parts[0].lowercased() == "bearer" {
                return parts[1].utf8.trimmedText
            }
        }
        for pair in (request.header("cookie") ?? "").split(separator: ";") {
            let text = pair.utf8.trimmedText
            if text.hasPrefix("AT=") { return String(text.dropFirst(3)) }
        }
        return nil
    }
}

extension Base64 {
    /// The URL alphabet without padding.
    static func encodeURL(_ bytes: [UInt8]) -> String {
        String(
            encode(bytes).compactMap { character -> Character? in
                switch character {
                case "+": "-"
                case "/": "_"
                case "=": nil
                default: character
                }
            })
    }

    /// Decodes the URL alphabet without padding; `nil` for anything else.
    static func decodeURL(_ text: Substring) -> [UInt8]? {
        var bytes: [UInt8] = []
        var bits: UInt32 = 0
        var count = 0
        for byte in text.utf8 {
            let value: UInt8
            switch byte {
            case 0x41...0x5a: value = byte - 0x41
            case 0x61...0x7a: value = byte - 0x61 + 26
            case 0x30...0x39: value = byte - 0x30 + 52
            case 0x2d: value = 62
            case 0x5f: value = 63
            default: return nil
            }
            bits = bits << 6 | UInt32(value)
            count += 6
            guard count >= 8 else { continue }
            count -= 8
            bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
        }
        return count < 6 ? bytes : nil
    }
}
