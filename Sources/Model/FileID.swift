/// The number of a volume; 0 is not used.
public typealias VolumeID = UInt32

/// The key of a needle inside the cluster: assigned by the master, never twice.
public typealias NeedleKey = UInt64

/// Names one stored file: `<volume>,<key hex><cookie, 8 hex digits>`, `3,01637037d6`.
///
/// The cookie is random, so that a file id cannot be guessed from its neighbours. Parsing accepts
/// what clients send (see `docs/http.md`): any case, leading zeros, an odd number of digits, `%2C`
/// for the comma, and a decimal `_delta` that is added to the key.
public struct FileID: Sendable, Hashable {
    /// The volume that holds the file.
    public var volume: VolumeID
    /// The needle key.
    public var key: NeedleKey
    /// The random part that makes the id hard to guess.
    public var cookie: UInt32

    /// A file id from its three parts.
    public init(volume: VolumeID, key: NeedleKey, cookie: UInt32) {
        self.volume = volume
        self.key = key
        self.cookie = cookie
    }

    /// The key and cookie as one hexadecimal text: key in whole bytes without leading zero bytes.
    public var keyAndCookie: String {
        var digits: [UInt8] = []
        digits.reserveCapacity(24)
        func put(_ byte: UInt8) {
            digits.append(FileID.hexDigit(byte >> 4))
            digits.append(FileID.hexDigit(byte & 15))
        }
        for shift in stride(from: 56, through: 0, by: -8) {
            let byte = UInt8(truncatingIfNeeded: key >> UInt64(shift))
            if byte != 0 || !digits.isEmpty { put(byte) }
        }
        for shift in stride(from: 24, through: 0, by: -8) {
            put(UInt8(truncatingIfNeeded: cookie >> UInt32(shift)))
        }
        return String(decoding: digits, as: UTF8.self)
    }

    /// The lower-case digit of a value below 16.
    static func hexDigit(_ value: UInt8) -> UInt8 {
        value < 10 ? 0x30 + value : 0x61 + value - 10
    }
}

extension FileID: CustomStringConvertible {
    /// The text form, `3,01637037d6`.
    public var description: String { "\(volume),\(keyAndCookie)" }
}

/// Why a text is not a file id.
public enum FileIDError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The volume part is not a decimal number.
    case volume(String)
    /// The key-and-cookie part is too short, too long or not hexadecimal.
    case key(String)
    /// The `_delta` part is not a decimal number.
    case delta(String)

    /// The message as clients know it.
    public var description: String {
        switch self {
        case .volume(let text): "strconv.ParseUint: parsing \"\(text)\": invalid syntax"
        case .key(let text): "Invalid fid: \(text)"
        case .delta(let text): "Invalid fid delta: \(text)"
        }
    }
}
