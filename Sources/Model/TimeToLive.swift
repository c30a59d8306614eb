/// How long a file lives: a count below 256 and a unit, as the superblock and needles store it.
public struct TimeToLive: Sendable, Hashable {
    /// The unit of a time to live; raw values are those on disk.
    public enum Unit: UInt8, Sendable, CaseIterable {
        /// No time to live.
        case none = 0
        /// 60 seconds.
        case minute = 1
        /// 60 minutes.
        case hour = 2
        /// 24 hours.
        case day = 3
        /// 7 days.
        case week = 4
        /// 30 days.
        case month = 5
        /// 365 days.
        case year = 6

        /// Minutes in one unit.
        public var minutes: UInt64 {
            switch self {
            case .none: 0
            case .minute: 1
            case .hour: 60
            case .day: 1440
            case .week: 10080
            case .month: 43200
            case .year: 525600
            }
        }

        /// The letter that stands for the unit.
        public var letter: String {
            switch self {
            case .none: ""
            case .minute: "m"
            case .hour: "h"
            case .day: "d"
            case .week: "w"
            case .month: "M"
            case .year: "y"
            }
        }
    }

    /// How many units; 0 means no time to live.
    public let count: UInt8
    /// The unit.
    public let unit: Unit

    /// Lives for ever.
    public static let none = TimeToLive(stored: 0, 0)

    /// The two bytes of the format.
    ///
    /// An unknown unit or a zero count means none.
    public init(stored count: UInt8, _ unit: UInt8) {
        let known = Unit(rawValue: unit) ?? .none
        self.count = known == .none ? 0 : count
        self.unit = count == 0 ? .none : known
    }

    /// Parses `3m`, `90d`, `12` (minutes), "" (none), and takes the largest unit that divides it
    /// exactly with a count below 256, else the smallest whose truncated count is.
    ///
    /// Unlike the original, which reads an unknown unit as "for ever", an unknown unit is refused.
    public init(parsing text: String) throws(TimeToLiveError) {
        guard let last = text.unicodeScalars.last else {
            self = .none
            return
        }
        var digits = text
        var unit = Unit.minute
        if !("0"..."9").contains(last) {
            digits.unicodeScalars.removeLast()
            guard let named = Unit.allCases.first(where: { $0.letter == String(last) }) else {
                throw digits.isEmpty || Int(digits) == nil ? .count(text) : .unit(text)
            }
            unit = named
        }
        guard let count = UInt64(digits), count <= 1 << 32 else { throw .count(digits) }
        self = TimeToLive(minutes: count * unit.minutes)
    }

    /// The closest time to live for a number of minutes, by the rule of ``init(parsing:)``.
    public init(minutes: UInt64) {
        guard minutes > 0 else {
            self = .none
            return
        }
        let descending: [Unit] = [.year, .month, .week, .day, .hour, .minute]
        for unit in descending where minutes % unit.minutes == 0 && minutes / unit.minutes < 256 {
            self.init(stored: UInt8(minutes / unit.minutes), unit.rawValue)
            return
        }
        let ascending: [Unit] = [.minute, .hour, .day, .week, .month, .year]
        for unit in ascending where minutes / unit.minutes < 256 {
            self.init(stored: UInt8(minutes / unit.minutes), unit.rawValue)
            return
        }
        self.init(stored: 255, Unit.year.rawValue)
    }

    /// Whether files live for ever.
    public var isNone: Bool { count == 0 }

    /// The length in seconds; 0 for none.
    public var seconds: UInt64 { UInt64(count) * unit.minutes * 60 }
}

extension TimeToLive: CustomStringConvertible {
    /// The text form, `3m`; empty for none.
    public var description: String { isNone ? "" : "\(count)\(unit.letter)" }
}

/// Why a text is not a time to live.
public enum TimeToLiveError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The count is not a number.
    case count(String)
    /// The unit is none of m h d w M y.
    case unit(String)

    /// The message as clients know it.
    public var description: String {
        switch self {
        case .count(let text): "strconv.Atoi: parsing \"\(text)\": invalid syntax"
        case .unit(let text):
            "unknown unit in ttl \"\(text)\": use m, h, d, w, M or y, as in 3m or 90d"
        }
    }
}
