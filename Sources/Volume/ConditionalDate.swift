/// The time of a `Last-Modified` header: `Tue, 13 May 2014 16:53:20 GMT` (RFC 9110, section 5.6.7).
///
/// Written for every file that is read, so it allocates nothing; and whatever was stored comes
/// back, even if that is the year 36812.
struct LastModified {
    private var text = [32 of UInt8](repeating: 0x20)
    private var count = 0

    /// The text of a time in Unix seconds; only the low 40 bits, which is all that is ever stored,
    /// count.
    init(_ seconds: UInt64) {
        let seconds = seconds & 0xff_ffff_ffff
        let days = seconds / 86_400
        let second = Int(seconds % 86_400)
        let (year, month, day) = LastModified.civil(days)
        put(LastModified.weekdays, Int((days + 4) % 7))
        put(0x2c)
        put(0x20)
        put(day, digits: 2)
        put(0x20)
        put(LastModified.months, month - 1)
        put(0x20)
        put(year, digits: year > 9999 ? 5 : 4)
        put(0x20)
        put(second / 3600, digits: 2)
        put(0x3a)
        put(second / 60 % 60, digits: 2)
        put(0x3a)
        put(second % 60, digits: 2)
        put(0x20)
        put(LastModified.zone, 0)
    }

    /// Lends the bytes of the text.
    func withSpan<R>(_ body: (Span<UInt8>) -> R) -> R { body(text.span.extracting(0..<count)) }

    private static let zone: StaticString = "GMT"
    private static let weekdays: StaticString = "SunMonTueWedThuFriSat"
    private static let months: StaticString = "JanFebMarAprMayJunJulAugSepOctNovDec"

    private mutating func put(_ byte: UInt8) {
        text[count] = byte
        count += 1
    }

    private mutating func put(_ names: StaticString, _ index: Int) {
        for i in 0..<3 { put(names.withUTF8Buffer { unsafe $0[index * 3 + i] }) }
    }

    private mutating func put(_ value: Int, digits: Int) {
        var rest = value
        for i in stride(from: count + digits - 1, through: count, by: -1) {
            text[i] = 0x30 + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        }
        count += digits
    }

    /// The date of a day since 1970 in the Gregorian calendar.
    ///
    /// Years are counted from March, so that the leap day comes last.
    private static func civil(_ days: UInt64) -> (year: Int, month: Int, day: Int) {
        let shifted = Int(days) + 719_468
        let era = shifted / 146_097
        let dayOfEra = shifted % 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (year, month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
    }
}
