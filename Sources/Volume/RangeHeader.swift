/// Part of a file: `length` bytes from `start`.
struct ByteRange: Sendable, Hashable {
    /// The first byte.
    var start: UInt64
    /// How many; 0 only for `bytes=-0`.
    var length: UInt64

    /// As `Content-Range` says it, `0-4/11`.
    ///
    /// An empty range is `11-10/11`, as clients of the original see it.
    func text(of size: UInt64) -> String {
        "\(start)-\(length == 0 && start > 0 ? start - 1 : start + max(length, 1) - 1)/\(size)"
    }
}

/// What a `Range` header asks of a file of known size.
enum RangeHeader: Sendable, Equatable {
    /// Everything: nothing was asked for, or more than a server need put up with.
    case whole
    /// One part.
    case single(ByteRange)
    /// Several parts, in the order asked for.
    case several([ByteRange])
    /// Every part lies behind the end: 416 with the size.
    case unsatisfiable
    /// Not a range of bytes: 416.
    case invalid

    /// Parts in one answer; a request for more gets everything instead.
    static let maxRanges = 128

    /// Reads `bytes=0-4,6-,-5`.
    ///
    /// Parts behind the end are left out. Parts that together are more than the file are a known
    /// way to make a server send much for little, so such a request gets the whole file once.
    static func parse(_ header: Span<UInt8>, size: UInt64) -> RangeHeader {
        guard header.count > 0 else { return .whole }
        guard header.starts(with: "bytes=") else { return .invalid }
        var ranges: [ByteRange] = []
        var isBehind = false
        var sum: UInt64 = 0
        var start = 6
        while start <= header.count {
            var end = start
            while end < header.count, header[end] != 0x2c { end += 1 }
            let item = header.extracting(header.trimming(start..<end))
            start = end + 1
            guard item.count > 0 else { continue }
            switch parseItem(item, size: size) {
            case .invalid: return .invalid
            case .behind: isBehind = true
            case .range(let range):
                let (total, overflow) = sum.addingReportingOverflow(range.length)
                guard !overflow, ranges.count < maxRanges else { return .whole }
                sum = total
                ranges.append(range)
            }
        }
        guard let first = ranges.first else { return isBehind ? .unsatisfiable : .whole }
        guard sum <= size else { return .whole }
        return ranges.count == 1 ? .single(first) : .several(ranges)
    }

    private enum Item {
        case range(ByteRange)
        case behind
        case invalid
    }

    private static func parseItem(_ item: Span<UInt8>, size: UInt64) -> Item {
        var dash = 0
        while dash < item.count, item[dash] != 0x2d { dash += 1 }
        guard dash < item.count else { return .invalid }
        let from = item.extracting(item.trimming(0..<dash))
        let to = item.extracting(item.trimming(dash + 1..<item.count))
        guard from.count > 0 else {
            guard let suffix = decimal(to) else { return .invalid }
            if size == 0 { return .behind }
            let length = min(suffix, size)
            return .range(ByteRange(start: size - length, length: length))
        }
        guard let first = decimal(from) else { return .invalid }
        if to.count > 0 {
            guard let last = decimal(to), last >= first else { return .invalid }
            guard first < size else { return .behind }
            return .range(ByteRange(start: first, length: min(last, size - 1) - first + 1))
        }
        return first < size ? .range(ByteRange(start: first, length: size - first)) : .behind
    }

    /// A number of at most 63 bits, as the original reads it.
    private static func decimal(_ text: Span<UInt8>) -> UInt64? {
        guard text.count > 0 else { return nil }
        var value: UInt64 = 0
        for i in text.indices {
            guard text[i] >= 0x30, text[i] <= 0x39 else { return nil }
            let (product, high) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = product.addingReportingOverflow(UInt64(text[i] - 0x30))
            guard !high, !carry, sum <= UInt64(Int64.max) else { return nil }
            value = sum
        }
        return value
    }
}

extension Span<UInt8> {
    /// The bounds of a part without the blanks and tabs at both ends.
    func trimming(_ part: Range<Int>) -> Range<Int> {
        var low = part.lowerBound
        var high = part.upperBound
        while low < high, self[low] == 0x20 || self[low] == 0x09 { low += 1 }
        while high > low, self[high - 1] == 0x20 || self[high - 1] == 0x09 { high -= 1 }
        return low..<high
    }
}
