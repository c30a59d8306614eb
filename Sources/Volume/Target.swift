import HTTPServer
import Model

/// What a request's path names.
enum Target: Equatable {
    /// A stored file. `name` is the last part of the slash form, where it stands in the path.
    case file(FileID, name: Range<Int>?, isCommaForm: Bool)
    /// A path that starts like a file id but is none.
    case bad(FileIDError)
    /// A number without a key, or some other text.
    case other

    /// Takes `/3,01637037d6[.ext]`, `/3/01637037d6[.ext]` or `/3/01637037d6/name.jpg` apart.
    ///
    /// Allocates nothing for a good path.
    init(path: Span<UInt8>) {
        guard let slashes = Target.slashes(in: path) else {
            self = .other
            return
        }
        switch slashes.count {
        case 1: self = Target.commaForm(path)
        case 2:
            let part = path.extracting(slashes.second + 1..<path.count)
            self = Target.parse(
                volume: path.extracting(1..<slashes.second),
                key: part.extracting(0..<Target.withoutExtension(part)), name: nil, comma: false)
        default:
            self = Target.parse(
                volume: path.extracting(1..<slashes.second),
                key: path.extracting(slashes.second + 1..<slashes.third),
                name: slashes.third + 1..<path.count, comma: false)
        }
    }

    private static func commaForm(_ path: Span<UInt8>) -> Target {
        let text = path.extracting(1..<path.count)
        guard let comma = FileID.comma(in: text) else { return .other }
        let rest = text.extracting(comma.upperBound..<text.count)
        return parse(
            volume: text.extracting(0..<comma.lowerBound),
            key: rest.extracting(0..<withoutExtension(rest)), name: nil, comma: true)
    }

    private static func parse(
        volume: Span<UInt8>, key: Span<UInt8>, name: Range<Int>?, comma: Bool
    ) -> Target {
        do {
            let id = try FileID(volume: volume, keyAndCookie: key)
            return .file(id, name: name, isCommaForm: comma)
        } catch {
            return .bad(error)
        }
    }

    /// Where the last dot is; the end without one.
    ///
    /// A dot at the very start is no extension.
    private static func withoutExtension(_ part: Span<UInt8>) -> Int {
        var i = part.count - 1
        while i > 0 {
            if part[i] == 0x2e { return i }
            i -= 1
        }
        return part.count
    }

    private struct Slashes {
        var count = 1
        var second = 0
        var third = 0
    }

    /// The path's slashes; `nil` without one at the start or with more than three.
    private static func slashes(in path: Span<UInt8>) -> Slashes? {
        guard !path.isEmpty, path[0] == 0x2f else { return nil }
        var found = Slashes()
        for i in 1..<path.count where path[i] == 0x2f {
            found.count += 1
            switch found.count {
            case 2: found.second = i
            case 3: found.third = i
            default: return nil
            }
        }
        return found
    }
}
