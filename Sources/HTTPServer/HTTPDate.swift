/// Dates as HTTP writes them: `Tue, 13 May 2014 16:53:20 GMT`.
public enum HTTPDate {
    /// Bytes of a formatted date.
    static let length = 29
    private static let days: StaticString = "ThuFriSatSunMonTueWed"
    private static let months: StaticString = "JanFebMarAprMayJunJulAugSepOctNovDec"
    /// 31 December 9999, the last second four digits can say.
    private static let latest: Int64 = 253_402_300_799
    /// 1 January 0000, the first second four digits can say.
    private static let earliest: Int64 = -62_167_219_200

    /// Formats seconds since 1970; seconds outside the years 0 to 9999 are moved to the nearest
    /// end.
    public static func format(unixSeconds: Int64) -> String {
        String(decoding: bytes(unixSeconds: unixSeconds), as: UTF8.self)
    }

    /// The formatted date as ASCII bytes, always 29.
    public static func bytes(unixSeconds: Int64) -> [UInt8] {
        let seconds = min(max(unixSeconds, earliest), latest)
        let (day, rest) = floorDivide(seconds, 86_400)
        let (year, month, dayOfMonth) = civil(day)
        var result: [UInt8] = []
        result.reserveCapacity(length)
        append(days, Int(floorDivide(day, 7).rest), to: &result)
        result += [0x2c, blank]
        append(two: dayOfMonth, to: &result)
        result.append(blank)
        append(months, month - 1, to: &result)
        result.append(blank)
        append(two: year / 100, to: &result)
        append(two: year % 100, to: &result)
        result.append(blank)
        append(two: Int(rest / 3600), to: &result)
        result.append(0x3a)
        append(two: Int(rest / 60 % 60), to: &result)
        result.append(0x3a)
        append(two: Int(rest % 60), to: &result)
        result += [blank, 0x47, 0x4d, 0x54]
        return result
    }

    /// Seconds since 1970 of a date in exactly this form; `nil` for anything else.
    public static func parse(_ text: String) -> Int64? {
        let bytes = Array(text.utf8)
        return parse(bytes.span)
    }

    /// Seconds since 1970 of a date in exactly this form; `nil` for anything else.
    public static func parse(_ bytes: Span<UInt8>) -> Int64? {
        guard bytes.count == length, bytes[3] == 0x2c, bytes[4] == blank, bytes[7] == blank,
            bytes[11] == blank, bytes[16] == blank, bytes[19] == 0x3a, bytes[22] == 0x3a,
            bytes[25] == blank, bytes[26] == 0x47, bytes[27] == 0x4d, bytes[28] == 0x54,
            let weekday = index(of: bytes, at: 0, in: days),
            let day = number(bytes, 5..<7), let month = index(of: bytes, at: 8, in: months),
            let year = number(bytes, 12..<16), let hour = number(bytes, 17..<19),
            let minute = number(bytes, 20..<22), let second = number(bytes, 23..<25),
            hour < 24, minute < 60, second <= 60, day >= 1
        else { return nil }
        let dayNumber = days(year: year, month: month + 1, day: day)
        guard civil(dayNumber).day == day, floorDivide(dayNumber, 7).rest == weekday else {
            return nil
        }
        return dayNumber * 86_400 + Int64(hour * 3600 + minute * 60 + second)
    }

    // The calendar of Howard Hinnant's "chrono-compatible low-level date algorithms": years are
    // counted from 1 March, so that the leap day is the last of its year.
    private static func civil(_ day: Int64) -> (year: Int, month: Int, day: Int) {
        let (era, dayOfEra) = floorDivide(day + 719_468, 146_097)
        let leaps = dayOfEra / 1460 - dayOfEra / 36_524 + dayOfEra / 146_096
        let yearOfEra = (dayOfEra - leaps) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        let month = shifted < 10 ? shifted + 3 : shifted - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (Int(year), Int(month), Int(dayOfYear - (153 * shifted + 2) / 5 + 1))
    }

    private static func days(year: Int, month: Int, day: Int) -> Int64 {
        let (era, yearOfEra) = floorDivide(Int64(month <= 2 ? year - 1 : year), 400)
        let shifted = Int64(month > 2 ? month - 3 : month + 9)
        let dayOfYear = (153 * shifted + 2) / 5 + Int64(day) - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }

    private static func floorDivide(_ value: Int64, _ by: Int64) -> (quotient: Int64, rest: Int64) {
        let (quotient, rest) = value.quotientAndRemainder(dividingBy: by)
        return rest < 0 ? (quotient - 1, rest + by) : (quotient, rest)
    }

    private static func append(two number: Int, to result: inout [UInt8]) {
        result.append(UInt8(0x30 + number / 10))
        result.append(UInt8(0x30 + number % 10))
    }

    private static func append(_ names: StaticString, _ index: Int, to result: inout [UInt8]) {
        for offset in index * 3..<index * 3 + 3 {
            // In bounds: `index` numbers one of the three-letter names.
            unsafe result.append(names.utf8Start[offset])
        }
    }

    private static func index(
        of bytes: borrowing Span<UInt8>, at start: Int, in names: StaticString
    ) -> Int? {
        for index in 0..<names.utf8CodeUnitCount / 3 {
            let first = index * 3
            // In bounds: the loop ends with the last three-letter name.
            if unsafe bytes[start] == names.utf8Start[first]
                && bytes[start + 1] == names.utf8Start[first + 1]
                && bytes[start + 2] == names.utf8Start[first + 2]
            {
                return index
            }
        }
        return nil
    }

    private static func number(_ bytes: borrowing Span<UInt8>, _ range: Range<Int>) -> Int? {
        var number = 0
        for index in range {
            guard case 0x30...0x39 = bytes[index] else { return nil }
            number = number * 10 + Int(bytes[index] - 0x30)
        }
        return number
    }
}
