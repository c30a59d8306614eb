internal import NIOCore
internal import Platform

/// CRC-32C of any range of a file, at the cost of reading a few kilobytes, however long the range.
///
/// Behind damage every multiple of 8 may begin a record, and content can be made that looks like
/// one of megabytes at each of them: reading all of those would take days. The checksum of a range
/// follows from those of two prefixes, as in zlib's `crc32_combine`: a checksum is the remainder of
/// a polynomial, and a prefix is the shorter one shifted by the length of the range, plus the
/// range.
struct RangeChecksums {
    /// Bytes between prefixes that are remembered; four bytes each.
    static let block = 4096
    private static let polynomial: UInt32 = 0x82f6_3b78
    /// x to the power of 8, 16, 32, …: shifts by 1, 2, 4, … bytes.
    private static let shifts: [UInt32] = {
        // bit 31 is x to the power of 0, so this is 1, then x
        var power: UInt32 = 1 << 30
        for _ in 0..<3 { power = multiply(power, power) }
        var shifts: [UInt32] = []
        for _ in 0..<48 {
            shifts.append(power)
            power = multiply(power, power)
        }
        return shifts
    }()

    private let file: any DiskFile
    private let base: UInt64
    /// Remainders of the bytes from `base` to the begin of every block.
    private var prefixes: [UInt32] = [0]

    /// Checksums of ranges that begin at `base` or later.
    init(_ file: any DiskFile, from base: UInt64) {
        self.file = file
        self.base = base
    }

    /// The checksum of a range; `nil` when the file ends inside it.
    mutating func checksum(at start: UInt64, length: UInt64) throws(NeedleError) -> UInt32? {
        guard start >= base, let before = try prefix(to: start),
            let after = try prefix(to: start + length)
        else { return nil }
        // a checksum begins with all bits set and ends inverted
        return ~(after ^ RangeChecksums.shift(before ^ .max, by: length))
    }

    private mutating func prefix(to end: UInt64) throws(NeedleError) -> UInt32? {
        let wanted = Int((end - base) / UInt64(RangeChecksums.block))
        while prefixes.count <= wanted {
            let from = base + UInt64((prefixes.count - 1) * RangeChecksums.block)
            let blocks = min(256, wanted + 1 - prefixes.count)
            let bytes = try readBuffer(file, at: from, count: blocks * RangeChecksums.block)
            guard bytes.readableBytes == blocks * RangeChecksums.block else { return nil }
            for index in 0..<blocks {
                guard let last = prefixes.last,
                    let part = bytes.getSlice(
                        at: index * RangeChecksums.block, length: RangeChecksums.block)
                else { return nil }
                prefixes.append(RangeChecksums.extend(last, part))
            }
        }
        let rest = Int((end - base) % UInt64(RangeChecksums.block))
        guard rest > 0 else { return prefixes[wanted] }
        let bytes = try readBuffer(file, at: end - UInt64(rest), count: rest)
        return bytes.readableBytes == rest ? RangeChecksums.extend(prefixes[wanted], bytes) : nil
    }

    /// The remainder after more bytes.
    private static func extend(_ remainder: UInt32, _ bytes: ByteBuffer) -> UInt32 {
        ~CRC32C.checksum(bytes.readableBytesSpan, continuing: ~remainder)
    }

    private static func shift(_ remainder: UInt32, by length: UInt64) -> UInt32 {
        var result = remainder
        var rest = length
        var index = 0
        while rest > 0, index < shifts.count {
            if rest & 1 == 1 { result = multiply(shifts[index], result) }
            rest >>= 1
            index += 1
        }
        return result
    }

    /// The product of two remainders; the highest bit is the lowest power.
    private static func multiply(_ a: UInt32, _ b: UInt32) -> UInt32 {
        var product: UInt32 = 0
        var factor = b
        var bit: UInt32 = 1 << 31
        while bit > 0 {
            if a & bit != 0 { product ^= factor }
            factor = factor & 1 == 1 ? factor >> 1 ^ polynomial : factor >> 1
            bit >>= 1
        }
        return product
    }
}
