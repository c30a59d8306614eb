import Platform

/// The time of day.
enum UnixTime {
    /// Now, unix nanoseconds.
    static var nanoseconds: Int64 { Int64(clamping: WallClock.nanoseconds) }
}
