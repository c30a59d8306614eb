import Model

/// Hands out needle keys from windows that were reserved in the log.
///
/// The rest of a window is never used after a restart, because a window lives in memory only: a key
/// is given out at most once, whatever crashes. A second window is fetched when half of the first
/// is used, so that handing out keys does not wait for the disk.
struct KeyWindows {
    /// Keys in a window at least.
    static let smallest: UInt64 = 10_000
    /// Keys in a window at most.
    static let largest: UInt64 = 10_000_000
    /// Seconds of the observed rate that a window holds.
    static let seconds = 10.0

    private var current: Range<NeedleKey> = 0..<0
    private var currentSize: UInt64 = 0
    private var standby: Range<NeedleKey>?
    private var isRefilling = false
    private var usedSinceRefill: UInt64 = 0
    private var lastRefill: ContinuousClock.Instant?

    /// Keys that can be given out without the log.
    var remaining: UInt64 {
        UInt64(current.count) + UInt64(standby?.count ?? 0)
    }

    /// The next `count` keys, in a row; `nil` when there are not so many at hand.
    ///
    /// What is left of a window too small for the request is skipped.
    mutating func take(_ count: UInt64) -> NeedleKey? {
        if UInt64(current.count) < count {
            guard let standby, UInt64(standby.count) >= count else { return nil }
            current = standby
            currentSize = UInt64(standby.count)
            self.standby = nil
        }
        let first = current.lowerBound
        current = first + count..<current.upperBound
        usedSinceRefill &+= count
        return first
    }

    /// Whether a window should be fetched now; true once per fetch.
    mutating func startRefill() -> Bool {
        guard !isRefilling, standby == nil, UInt64(current.count) * 2 <= currentSize else {
            return false
        }
        isRefilling = true
        return true
    }

    /// How many keys to fetch: ten seconds' worth.
    mutating func refillCount(now: ContinuousClock.Instant) -> UInt64 {
        defer {
            lastRefill = now
            usedSinceRefill = 0
        }
        guard let lastRefill else { return KeyWindows.smallest }
        let elapsed = Double((now - lastRefill) / .milliseconds(1)) / 1000
        let wanted = Double(usedSinceRefill) / max(elapsed, 0.001) * KeyWindows.seconds
        return UInt64(min(max(wanted, Double(KeyWindows.smallest)), Double(KeyWindows.largest)))
    }

    /// A window arrived, or could not be had.
    mutating func finishRefill(_ window: Range<NeedleKey>?) {
        isRefilling = false
        guard let window else { return }
        if current.isEmpty {
            current = window
            currentSize = UInt64(window.count)
        } else {
            standby = window
        }
    }

    /// A volume holds this key: keys up to it are not given out any more.
    mutating func skip(through key: NeedleKey) {
        current = KeyWindows.cut(current, through: key)
        standby = standby.map { KeyWindows.cut($0, through: key) }
        if standby?.isEmpty == true { standby = nil }
    }

    private static func cut(_ window: Range<NeedleKey>, through key: NeedleKey) -> Range<NeedleKey>
    {
        guard !window.isEmpty, key >= window.lowerBound else { return window }
        return min(key, window.upperBound - 1) + 1..<window.upperBound
    }
}
